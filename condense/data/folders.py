"""Image datasets in folders of image files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from condense.data.archives import read_npz
from condense.data.arrays import (
    Array,
    ImageArrays,
    check_class_name,
    checked,
)
from condense.errors import UserError, one_line
from condense.runs.io import is_file
from condense.system.memory import check_memory

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")


def read(path: Path) -> ImageArrays:
    """Read a dataset from an `.npz` archive or from a folder `train/CLASS/*`, `test/CLASS/*`.

    Raises:
        UserError: the path does not exist or its content is invalid; the message names the file
            and the key.
    """
    try:
        if path.is_dir():
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                return read_folder(path)
        return read_npz(path)
    except OSError as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason


def read_folder(path: Path) -> ImageArrays:
    """Read `train/CLASS/*` and `test/CLASS/*`, in any format that Pillow reads.

    Classes are numbered in the order of the folder names (by value if all are numbers).
    The images are grey if all of them are grey, else RGB; transparency is dropped.
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
    # Twice, because they are stacked after all are read.
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
    """Every image file in `path` with its class index; a class may be missing."""
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
    """The pixels as uint8: `[h, w]` for a grey image, else `[h, w, 3]`.

    Raises:
        UserError: it is not an image, or its size differs from `size`, the size of `first`.
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
    """An open image with size and mode; the pixels are read on demand."""
    if not is_file(path):  # opening a pipe would block
        raise UserError(f"{path}: not a readable image (no file)")
    try:
        with Image.open(path) as image:
            yield image
    except UserError:
        raise
    # Pillow's decoders raise many types of exceptions.
    except Exception as reason:
        raise UserError(f"{path}: not a readable image ({one_line(reason)})") from reason


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _with_channels(picture: Array, colour: bool) -> Array:
    if picture.ndim == 3:
        return picture
    return np.repeat(picture[..., None], 3 if colour else 1, axis=2)
