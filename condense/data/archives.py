"""Image datasets in `.npz` archives."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
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

from condense.data.arrays import ALL_KEYS, ImageArrays, check_kinds, checked
from condense.data.image_arrays import Array
from condense.data.labels import listed
from condense.errors import UserError, one_line
from condense.runs.io import atomic_write, is_file
from condense.system.memory import check_memory

T = TypeVar("T")

IMAGES, LABELS = ("images", "x", "data"), ("labels", "y", "targets")
OTHER_KEYS = {
    "x_train": ("train_images", "train_x", "train_data", *IMAGES),
    "y_train": ("train_labels", "train_y", "train_targets", *LABELS),
    "x_test": ("test_images", "test_x", "test_data"),
    "y_test": ("test_labels", "test_y", "test_targets"),
    "class_names": ("classes",),
}
"""Other names of the keys, in any case: those of MedMNIST, and common ones."""

VALIDATION_KEYS = {
    "x_test": ("x_val", "val_images", "val_x", "val_data"),
    "y_test": ("y_val", "val_labels", "val_y", "val_targets"),
}
"""Names of the validation split, which is used if no test split has images and labels."""


def read_npz(path: Path) -> ImageArrays:
    """Read an archive with the keys `x_train y_train x_test y_test` (`mean std class_names`).

    The keys of MedMNIST (`train_images train_labels …`) and others are known too (`OTHER_KEYS`).
    Without a test split that of validation is used, or else a part of each class is set aside.

    Types and shapes are checked before the arrays are read, so that no large unusable array is
    loaded. Pickled content is rejected, never loaded.
    """
    if not is_file(path):
        there = os.path.lexists(path)
        raise UserError(f"{path}: {'not a file' if there else 'no such file or folder'}")
    try:
        content, notes = _load_archive(path)
    except UserError:
        raise
    except BadZipFile as reason:
        raise UserError(f"{path}: truncated, or not an .npz archive ({reason})") from reason
    # A damaged archive can make zipfile, zlib and numpy's header parser raise almost anything.
    except Exception as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason
    arrays = checked(content, str(path))
    return replace(arrays, notes=(*notes, *arrays.notes))


def find_keys(names: Iterable[str]) -> dict[str, str]:
    """The name in an archive of each key in `ALL_KEYS` that is there.

    >>> find_keys(["train_images", "train_labels", "val_images"])
    {'x_train': 'train_images', 'y_train': 'train_labels', 'x_test': 'val_images'}
    """
    lower = {name.lower(): name for name in names}

    def first(known: Mapping[str, Iterable[str]]) -> dict[str, str]:
        there = {key: [name for name in known[key] if name in lower] for key in known}
        return {key: lower[found[0]] for key, found in there.items() if found}

    found = first({key: (key, *OTHER_KEYS.get(key, ())) for key in ALL_KEYS})
    validation, tested = first(VALIDATION_KEYS), found.keys() & VALIDATION_KEYS.keys()
    if not tested or (len(tested) == 1 and len(validation) == 2):
        found |= validation
    return found


def _load_archive(path: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays by key, and lines for the user."""
    with path.open("rb") as file:
        start = file.read(len(MAGIC_PREFIX))
    if start == MAGIC_PREFIX:
        raise UserError(f"{path}: a bare array; an .npz archive with named arrays is expected")
    if not start.startswith(b"PK"):
        raise UserError(f"{path}: cannot be read (not an .npz archive)")
    with ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        keys = find_keys(names)
        if not keys:
            raise UserError(f"{path}: no key x_train; {_found_instead(archive.namelist())}")
        headers = {key: _of_member(archive, name, path, _header) for key, name in keys.items()}
        check_kinds(headers, str(path))
        for key, name in keys.items():
            if headers[key].nbytes > archive.getinfo(f"{name}.npy").file_size:
                raise UserError(f"{path}: key {name} is truncated")
        needed = sum(header.nbytes for header in headers.values())
        # Twice, because the axes of the images are permuted afterwards.
        check_memory(2 * needed, f"{path}: it")
        content = {key: _of_member(archive, name, path, read_array) for key, name in keys.items()}
        return content, _notes(names, keys)


def _notes(names: list[str], keys: Mapping[str, str]) -> list[str]:
    """Lines about the arrays that are not used, or not used as their name says."""
    unused = [name for name in names if name not in keys.values()]
    notes = [f"not used: {listed(unused)}"] if unused else []
    tested = keys.get("x_test", "")
    return [*notes, f"the test split is {tested}"] if "val" in tested.lower() else notes


def _found_instead(names: list[str]) -> str:
    """What an archive without known keys has."""
    if names and not any(name.endswith(".npy") for name in names):
        return "it is no .npz archive: unpack it, and give the folder"
    found = [name.removesuffix(".npy") for name in names if name.endswith(".npy")]
    return f"keys found: {listed(found) or 'none'}"


@dataclass(frozen=True)
class _Header:
    """The header of an array in an archive."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


def _header(stream: IO[bytes]) -> _Header:
    """The header of an array; ValueError if it contains Python objects."""
    version = read_magic(stream)
    read = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}.get(version)
    if read is None:  # newer versions are only for field names, which images do not have
        raise ValueError(f"format {version}")
    shape, _, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("Python objects are not loaded: save strings as astype(str)")
    return _Header(dtype, shape)


def _of_member(archive: ZipFile, name: str, path: Path, read: Callable[[IO[bytes]], T]) -> T:
    try:
        with archive.open(f"{name}.npy") as stream:
            return read(stream)
    except ValueError as reason:
        raise UserError(f"{path}: key {name} cannot be read ({one_line(reason)})") from reason


def write_npz(path: Path, arrays: ImageArrays) -> None:
    """Write an archive for `read_npz` atomically.

    Raises:
        UserError: the folder cannot be created or written, or the disk is full.
    """
    content = {key: getattr(arrays, key) for key in ALL_KEYS}
    content = {key: np.asarray(value) for key, value in content.items() if value is not None}
    with atomic_write(path) as temporary:
        np.savez(temporary, **content)
