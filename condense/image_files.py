"""Image sets on disk: `.npz` archives, and folders of pictures."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.lib.format import (
    MAGIC_PREFIX,
    read_array,
    read_array_header_1_0,
    read_array_header_2_0,
    read_magic,
)
from PIL import Image

from condense.errors import UserError, one_line
from condense.files import atomic_write, is_file
from condense.image_arrays import (
    OPTIONAL_KEYS,
    REQUIRED_KEYS,
    Array,
    ImageArrays,
    check_class_name,
    check_kinds,
    checked,
)
from condense.machine import check_memory

T = TypeVar("T")

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")


def read(path: Path) -> ImageArrays:
    """Read an image set from an `.npz` archive or from a folder `train/CLASS/*`, `test/CLASS/*`.

    Raises:
        UserError: there is nothing there, or it does not hold what is expected; one line that
            names the file and the key.
    """
    try:
        if path.is_dir():
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                return read_folder(path)
        return read_npz(path)
    except OSError as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason


def read_npz(path: Path) -> ImageArrays:
    """Read an archive with the keys `x_train y_train x_test y_test` (`mean std class_names`).

    Types and shapes are looked at before anything is read, so that nothing large is that could
    not be used. Pickled content is refused, never loaded.
    """
    if not is_file(path):
        there = os.path.lexists(path)
        raise UserError(f"{path}: {'not a file' if there else 'no such file or folder'}")
    try:
        content = _load_archive(path)
    except UserError:
        raise
    except BadZipFile as reason:
        raise UserError(f"{path}: truncated, or not an .npz archive ({reason})") from reason
    # A damaged archive can make zipfile, zlib and numpy's header parser raise almost anything.
    except Exception as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason
    return checked(content, str(path))


def _load_archive(path: Path) -> dict[str, Array]:
    with path.open("rb") as file:
        start = file.read(len(MAGIC_PREFIX))
    if start == MAGIC_PREFIX:
        raise UserError(f"{path}: a bare array; an .npz archive with named arrays is expected")
    if not start.startswith(b"PK"):
        raise UserError(f"{path}: cannot be read (no .npz archive)")
    with ZipFile(path) as archive:
        names = set(archive.namelist())
        keys = [key for key in REQUIRED_KEYS + OPTIONAL_KEYS if f"{key}.npy" in names]
        headers = {key: _of_member(archive, key, path, _header) for key in keys}
        check_kinds(headers, str(path))
        for key, header in headers.items():
            if header.nbytes > archive.getinfo(f"{key}.npy").file_size:
                raise UserError(f"{path}: key {key} is truncated")
        needed = sum(header.nbytes for header in headers.values())
        # Twice, because the images' axes are put in another order afterwards.
        check_memory(2 * needed, f"{path}: it")
        return {key: _of_member(archive, key, path, read_array) for key in keys}


@dataclass(frozen=True)
class _Header:
    """What an array in an archive says of itself."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """What its values take."""
        return math.prod(self.shape) * self.dtype.itemsize


def _header(stream: IO[bytes]) -> _Header:
    """The header of an array; ValueError where it holds Python objects."""
    version = read_magic(stream)
    read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(version)
    if read is None:  # a newer one is for the names of fields, which images have none of
        raise ValueError(f"format {version}")
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Python objects are not loaded")
    return _Header(dtype, shape)


def _of_member(archive: ZipFile, key: str, path: Path, read: Callable[[IO[bytes]], T]) -> T:
    try:
        with archive.open(f"{key}.npy") as stream:
            return read(stream)
    except ValueError as reason:
        raise UserError(f"{path}: key {key} cannot be read ({one_line(reason)})") from reason


def write_npz(path: Path, arrays: ImageArrays) -> None:
    """Write an archive that `read_npz` reads, all of it or nothing.

    Raises:
        UserError: the folder cannot be made, or not be written to, or is full.
    """
    content = {key: getattr(arrays, key) for key in REQUIRED_KEYS + OPTIONAL_KEYS}
    content = {key: np.asarray(value) for key, value in content.items() if value is not None}
    with atomic_write(path) as temporary:
        np.savez(temporary, **content)


def read_folder(path: Path) -> ImageArrays:
    """Read `train/CLASS/*` and `test/CLASS/*`, in any format that Pillow reads.

    Classes are numbered in the order of their folders' names (by value where all are numbers).
    The images are grey if every one of them is, and otherwise RGB; transparency is dropped.
    """
    names = _class_folders(path / "train")
    unknown = sorted(set(_class_folders(path / "test")) - set(names))
    if unknown:
        raise UserError(f"{path / 'test' / unknown[0]}: a class without a folder in {path}/train")
    splits = {split: _list_images(path / split, names) for split in ("train", "test")}
    first = splits["train"][0][0]
    with _opened(first) as image:
        size, channels = image.size, 1 if image.mode in GREY_MODES else 3
    count = sum(map(len, splits.values()))
    # Twice, because they are stacked once all are read.
    check_memory(2 * count * math.prod(size) * channels, f"{path}: it")
    pictures = {
        split: [_read_image(file, size, first) for file, _ in splits[split]] for split in splits
    }
    colour = any(picture.ndim == 3 for split in splits for picture in pictures[split])
    content: dict[str, Array] = {"class_names": np.array(names)}
    for split, listing in splits.items():
        content[f"x_{split}"] = np.stack([_with_channels(p, colour) for p in pictures[split]])
        content[f"y_{split}"] = np.array([label for _, label in listing], dtype=np.int64)
    return checked(content, str(path))


def _class_folders(path: Path) -> list[str]:
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; train/CLASS/* and test/CLASS/* are expected")
    names = [entry.name for entry in path.iterdir() if entry.is_dir() and entry.name[0] != "."]
    if not names:
        raise UserError(f"{path}: no folders in it; a folder of images for each class is expected")
    for name in names:
        try:
            check_class_name(name)
        except UserError as problem:
            raise UserError(f"{path}: {problem}") from None
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _list_images(path: Path, names: list[str]) -> list[tuple[Path, int]]:
    """Every image file below `path` with the number of its class; a test class may be absent."""
    readable = Image.registered_extensions()
    listing = [
        (file, label)
        for label, name in enumerate(names)
        for file in sorted((path / name).glob("*"))
        if file.suffix.lower() in readable and file.name[0] != "."
    ]
    if not listing:
        raise UserError(f"{path}: no image files in its class folders")
    return listing


def _read_image(path: Path, size: tuple[int, int], first: Path) -> Array:
    """The pixels uint8, `[h, w]` of a grey picture and `[h, w, 3]` of any other.

    Raises:
        UserError: it is no picture, or its width and height are not `size`, that of `first`.
    """
    with _opened(path) as image:
        if image.size != size:
            raise UserError(
                f"{path}: {_by(image.size)} pixels, but {first} has {_by(size)}; "
                "images of one size are expected"
            )
        mode = image.mode
        if mode in GREY_MODES:
            return np.array(image.convert("L"))
        if mode in COLOUR_MODES:
            return np.array(image.convert("RGB"))
    raise UserError(f"{path}: pixels of mode {mode}; 8 bits per channel are expected")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose size and mode are known; its pixels are read when they are wanted."""
    if not is_file(path):  # a pipe would be waited for
        raise UserError(f"{path}: not a readable image (no file)")
    try:
        with Image.open(path) as image:
            yield image
    except UserError:
        raise
    # Pillow's decoders raise what their format's parser happens to raise.
    except Exception as reason:
        raise UserError(f"{path}: not a readable image ({one_line(reason)})") from reason


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _with_channels(picture: Array, colour: bool) -> Array:
    if picture.ndim == 3:
        return picture
    return np.repeat(picture[..., None], 3 if colour else 1, axis=2)
