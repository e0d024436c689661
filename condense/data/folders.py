"""Image datasets in folders of image files."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from condense.data.archives import read_npz
from condense.data.arrays import ImageArrays, checked
from condense.data.folder_layout import layout_of
from condense.data.image_arrays import Array
from condense.data.image_files import Fit, channels_of, opened, pixels_of, size_of
from condense.errors import UserError, one_line
from condense.system.memory import check_memory

USUAL_SIZES = (64, 32, 16)
"""Of these the largest that is no larger than most images is proposed to the user."""


def read(path: Path, size: int | None = None, fit: Fit = "crop") -> ImageArrays:
    """Read a dataset from an `.npz` archive or from a folder.

    Args:
        path: the archive or folder.
        size: side of the images of a folder; those of an archive keep their size.
        fit: how images get this size, see `image_files.pixels_of`.

    Raises:
        UserError: the path does not exist or its content is invalid; the message names the file
            and the key.
    """
    try:
        return read_folder(path, size, fit) if path.is_dir() else read_npz(path)
    except OSError as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason


def read_folder(path: Path, size: int | None = None, fit: Fit = "crop") -> ImageArrays:
    """Read the folders of classes that `folder_layout.layout_of` finds.

    Classes are numbered in the order of the folder names (by value if all are numbers). Any format
    that Pillow reads will do. The images are grey if all of them are, else RGB.

    Args:
        path: the folder.
        size: side of the images; None: that of the files, which must have one size.
        fit: see `image_files.pixels_of`.

    Raises:
        UserError: there are no classes, an image cannot be read, or sizes differ.
    """
    layout = layout_of(path)
    files = [file for listing in layout.splits.values() for file, _ in listing]
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        shape = _common_shape(path, files, size)
        # Twice, because the axes of the images are permuted afterwards.
        check_memory(2 * len(files) * math.prod(shape), f"{path}: it")
        content: dict[str, Array] = {"class_names": np.array(layout.names)}
        for split, listing in layout.splits.items():
            content[f"x_{split}"] = _pixels([file for file, _ in listing], shape, size, fit)
            content[f"y_{split}"] = np.array([label for _, label in listing])
    arrays = checked(content, str(path))
    return replace(arrays, notes=(*layout.notes, *arrays.notes))


def _common_shape(path: Path, files: Sequence[Path], size: int | None) -> tuple[int, int, int]:
    """Height, width and channels of all images; from their headers.

    Raises:
        UserError: a file is no image, or sizes differ and `size` is None.
    """
    headers = []
    for file in files:
        with opened(file) as image:
            headers.append((*size_of(image), channels_of(image)))
    channels = max(header[2] for header in headers)
    if size is not None:
        return size, size, channels
    sizes = sorted({header[:2] for header in headers}, key=math.prod)
    if len(sizes) > 1:
        common = statistics.median(min(header[:2]) for header in headers)
        proposed = next((usual for usual in USUAL_SIZES if usual <= common), USUAL_SIZES[-1])
        small, large = (f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
        raise UserError(
            f"{path}: images of {len(sizes)} sizes, {small} to {large}: add --size {proposed} to "
            f"make all {proposed}×{proposed} (in Python size={proposed})"
        )
    return sizes[0][1], sizes[0][0], channels


def _pixels(
    files: Sequence[Path], shape: tuple[int, int, int], size: int | None, fit: Fit
) -> Array:
    """The images of the files, uint8 [n, h, w, c]; grey ones are repeated for RGB."""
    pixels = np.empty((len(files), *shape), dtype=np.uint8)
    for place, file in zip(pixels, files, strict=True):
        with opened(file) as image:
            place[:] = pixels_of(image, size, fit)
    return pixels
