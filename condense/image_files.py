"""Image sets on disk: `.npz` archives, and folders of pictures."""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from condense.errors import UserError, one_line
from condense.files import atomic_write
from condense.image_arrays import OPTIONAL_KEYS, REQUIRED_KEYS, Array, ImageArrays, checked

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")


def read(path: Path) -> ImageArrays:
    """Read an image set from an `.npz` archive or from a folder `train/CLASS/*`, `test/CLASS/*`.

    Raises:
        UserError: there is nothing there, or it does not hold what is expected; one line that
            names the file and the key.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    return read_folder(path) if path.is_dir() else read_npz(path)


def read_npz(path: Path) -> ImageArrays:
    """Read an archive with the keys `x_train y_train x_test y_test` (`mean std class_names`).

    Pickled content is refused, never loaded.
    """
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
    archive = np.load(path, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UserError(f"{path}: a bare array; an .npz archive with named arrays is expected")
    content: dict[str, Array] = {}
    with archive:
        for key in archive.files:
            if key not in REQUIRED_KEYS + OPTIONAL_KEYS:
                continue
            try:
                content[key] = archive[key]
            except ValueError as reason:
                message = f"{path}: key {key} cannot be read ({one_line(reason)})"
                raise UserError(message) from reason
            if not isinstance(content[key], np.ndarray):
                raise UserError(f"{path}: key {key} is not an array")
    return content


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
    pictures = {split: [_read_image(file) for file, _ in splits[split]] for split in splits}
    everything = [
        (file, picture)
        for split in splits
        for (file, _), picture in zip(splits[split], pictures[split], strict=True)
    ]
    _check_sizes(everything)
    colour = any(picture.ndim == 3 for _, picture in everything)
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


def _read_image(path: Path) -> Array:
    """The pixels uint8, `[h, w]` of a grey picture and `[h, w, 3]` of any other."""
    try:
        with Image.open(path) as image:
            mode = image.mode
            if mode in GREY_MODES:
                return np.array(image.convert("L"))
            if mode in COLOUR_MODES:
                return np.array(image.convert("RGB"))
    # Pillow's decoders raise what their format's parser happens to raise.
    except Exception as reason:
        raise UserError(f"{path}: not a readable image ({one_line(reason)})") from reason
    raise UserError(f"{path}: pixels of mode {mode}; 8 bits per channel are expected")


def _check_sizes(everything: list[tuple[Path, Array]]) -> None:
    first, expected = everything[0][0], everything[0][1].shape[:2]
    for file, picture in everything:
        if picture.shape[:2] != expected:
            (height, width), (h, w) = expected, picture.shape[:2]
            raise UserError(
                f"{file}: {w}×{h} pixels, but {first} has {width}×{height}; "
                "images of one size are expected"
            )


def _with_channels(picture: Array, colour: bool) -> Array:
    if picture.ndim == 3:
        return picture
    return np.repeat(picture[..., None], 3 if colour else 1, axis=2)
