"""Image datasets in `.npz` archives."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
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

from condense.data.arrays import (
    OPTIONAL_KEYS,
    REQUIRED_KEYS,
    Array,
    ImageArrays,
    check_kinds,
    checked,
)
from condense.errors import UserError, one_line
from condense.runs.io import atomic_write, is_file
from condense.system.memory import check_memory

T = TypeVar("T")


def read_npz(path: Path) -> ImageArrays:
    """Read an archive with the keys `x_train y_train x_test y_test` (`mean std class_names`).

    Types and shapes are checked before the arrays are read, so that no large unusable array is
    loaded. Pickled content is rejected, never loaded.
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
        raise UserError(f"{path}: cannot be read (not an .npz archive)")
    with ZipFile(path) as archive:
        names = set(archive.namelist())
        keys = [key for key in REQUIRED_KEYS + OPTIONAL_KEYS if f"{key}.npy" in names]
        headers = {key: _of_member(archive, key, path, _header) for key in keys}
        check_kinds(headers, str(path))
        for key, header in headers.items():
            if header.nbytes > archive.getinfo(f"{key}.npy").file_size:
                raise UserError(f"{path}: key {key} is truncated")
        needed = sum(header.nbytes for header in headers.values())
        # Twice, because the axes of the images are permuted afterwards.
        check_memory(2 * needed, f"{path}: it")
        return {key: _of_member(archive, key, path, read_array) for key in keys}


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
        raise ValueError("Python objects are not loaded")
    return _Header(dtype, shape)


def _of_member(archive: ZipFile, key: str, path: Path, read: Callable[[IO[bytes]], T]) -> T:
    try:
        with archive.open(f"{key}.npy") as stream:
            return read(stream)
    except ValueError as reason:
        raise UserError(f"{path}: key {key} cannot be read ({one_line(reason)})") from reason


def write_npz(path: Path, arrays: ImageArrays) -> None:
    """Write an archive for `read_npz` atomically.

    Raises:
        UserError: the folder cannot be created or written, or the disk is full.
    """
    content = {key: getattr(arrays, key) for key in REQUIRED_KEYS + OPTIONAL_KEYS}
    content = {key: np.asarray(value) for key, value in content.items() if value is not None}
    with atomic_write(path) as temporary:
        np.savez(temporary, **content)
