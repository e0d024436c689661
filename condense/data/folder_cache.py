"""The pixels of a folder of images in the cache, so that its files are decoded once.

A folder and the settings of its images have one file in the cache, named after them. It contains a
key of all that its pixels depend on. If the images were changed, the key differs: they are decoded
again, and their pixels replace the file. So a folder that is edited often does not fill the cache.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import PIL

from condense.data.decoding import FolderImages
from condense.data.image_arrays import Array
from condense.errors import UserError, one_line
from condense.runs.cache import CHOSEN_BY, Cache
from condense.runs.checkpointer import Checkpointer
from condense.runs.io import WriteError, is_file, write_safetensors, writing
from condense.system.notes import note

DECODER = 2
"""Part of every key. Increment it if the same files give other pixels."""
SMALL_COUNT, SMALL_BYTES = 500, 32 * 2**20
"""With fewer files, and fewer bytes in them, a folder is not cached: it is decoded in about a
second, and users with many small folders would fill their cache for nothing."""
PIXELS = "pixels"


def pixels_of_folder(images: FolderImages, cache: Cache | None, progress: Checkpointer) -> Array:
    """The pixels, uint8 [n, h, w, c], from the cache or decoded; then they are stored there.

    Only one process decodes a folder; others wait for it. If the cache cannot be written, the user
    is told in a note.

    Args:
        images: the files.
        cache: None: the images are decoded.
        progress: receives reports of the decoding.

    Raises:
        UserError: as `FolderImages.decode`.
    """
    key = None if cache is None else _key(images)
    if cache is None or key is None:
        return images.decode(progress)
    name = _name(images)
    path = cache.path(name)
    found = _look_up(path, key)
    if found is None:
        with _held(cache, name, images):
            found = _look_up(path, key, warn=True)  # another process may have made it
            if found is None:
                return _made(path, key, images, progress)
    images.check_fits(found.shape)
    return found


@contextmanager
def _held(cache: Cache, name: str, images: FolderImages) -> Iterator[None]:
    """Hold the lock of the folder; without it, if the cache cannot be written."""
    with ExitStack() as stack:
        with suppress(WriteError):  # the note comes when the images are written
            stack.enter_context(cache.held(name, f"reads {images.path}"))
        yield


def _made(path: Path, key: str, images: FolderImages, progress: Checkpointer) -> Array:
    """The decoded pixels, which are also written to the file, if that is possible."""
    pixels = images.decode(progress)
    try:
        with writing(path, CHOSEN_BY):
            _write(path, key, pixels)
    except WriteError as problem:
        note(f"{images.path}: the decoded images are not cached: {problem}")
    return pixels


def _name(images: FolderImages) -> str:
    """The key in the cache of the folder with these settings, whatever is in it."""
    about = [str(images.path.resolve()), images.size, images.fit]
    return f"images-{_sha256(about)[:32]}"


def _key(images: FolderImages) -> str | None:
    """A hash of all that the pixels depend on; None if the folder is not cached.

    The files are not read: their paths, sizes and times are enough. The time of the last change of
    the file's entry is one of them, because a file that another one replaces (`mv`, unpacking) can
    have the same size and the same time of modification.
    """
    root, listing, total = os.fspath(images.path), [], 0
    for file in images.files:
        try:
            about = file.stat()
        except OSError:
            return None  # decoding gives the reason
        name = os.fspath(file).removeprefix(root)
        listing.append([name, about.st_size, about.st_mtime_ns, about.st_ctime_ns])
        total += about.st_size
    if len(listing) < SMALL_COUNT and total < SMALL_BYTES:
        return None
    return _sha256([DECODER, PIL.__version__, images.size, images.fit, listing])


def _look_up(path: Path, key: str, warn: bool = False) -> Array | None:
    """The pixels with this key; None if there are none, or if they are damaged."""
    try:
        return _read(path, key)
    except UserError as problem:
        if warn:
            note(f"{problem}; the images are decoded again")
        return None


def _read(path: Path, key: str) -> Array | None:
    """The pixels in the file, mapped into memory; None if it does not exist or has another key.

    Raises:
        UserError: it is damaged, or another file.
    """
    if not is_file(path):
        return None
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            if about["key"] != key:
                return None
            # Of PyTorch's tensors safetensors maps the file: no second copy in memory.
            pixels: Array = file.get_tensor(PIXELS).numpy()
        if about["digest"] != _digest(pixels, key):
            raise ValueError("its digest differs")
    # safetensors raises many types, some its own.
    except Exception as reason:
        raise UserError(f"{path} is damaged or of another program ({one_line(reason)})") from reason
    return pixels


def _write(path: Path, key: str, pixels: Array) -> None:
    entry = {"dtype": "U8", "shape": pixels.shape, "data_offsets": [0, pixels.nbytes]}
    about = {"key": key, "digest": _digest(pixels, key)}
    write_safetensors(path, {"__metadata__": about, PIXELS: entry}, pixels.data)


def _digest(pixels: Array, key: str) -> str:
    """SHA-256 (hex) of the pixels with their type, shape and key."""
    digest = hashlib.sha256(json.dumps([key, str(pixels.dtype), pixels.shape]).encode())
    digest.update(pixels.data)
    return digest.hexdigest()


def _sha256(value: object) -> str:
    text = json.dumps(value, default=int)  # a size may be an integer of NumPy
    return hashlib.sha256(text.encode()).hexdigest()
