"""Image datasets in folders of image files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from condense.data.archives import read_npz
from condense.data.arrays import ImageArrays, checked
from condense.data.decoding import FolderImages
from condense.data.folder_cache import pixels_of_folder
from condense.data.folder_layout import layout_of
from condense.data.image_arrays import Array
from condense.data.image_files import Fit
from condense.errors import UserError, one_line
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer


def read(
    path: Path,
    size: int | None = None,
    fit: Fit = "crop",
    cache: Cache | None = None,
    progress: Checkpointer | None = None,
) -> ImageArrays:
    """Read a dataset from an `.npz` archive or from a folder.

    Args:
        path: the archive or folder.
        size: side of the images of a folder; those of an archive keep their size.
        fit: how images get this size, see `image_files.pixels_of`.
        cache: keeps the decoded images of a folder; None: they are decoded every time.
        progress: receives reports while the images of a folder are decoded.

    Raises:
        UserError: the path does not exist or its content is invalid; the message names the file
            and the key.
    """
    try:
        if not path.is_dir():
            return read_npz(path)
        return read_folder(path, size, fit, cache, progress)
    except OSError as reason:
        raise UserError(f"{path}: cannot be read ({one_line(reason)})") from reason


def read_folder(
    path: Path,
    size: int | None = None,
    fit: Fit = "crop",
    cache: Cache | None = None,
    progress: Checkpointer | None = None,
) -> ImageArrays:
    """Read the folders of classes that `folder_layout.layout_of` finds.

    Classes are numbered in the order of the folder names (by value if all are numbers). Any format
    that Pillow reads will do. The images are grey if all of them are, else RGB.

    Args:
        path: the folder.
        size: side of the images; None: that of the files, which must have one size.
        fit: see `image_files.pixels_of`.
        cache: see `read`.
        progress: see `read`.

    Raises:
        UserError: there are no classes, an image cannot be read, or sizes differ.
    """
    layout = layout_of(path)
    files = [file for listing in layout.splits.values() for file, _ in listing]
    images = FolderImages(path, files, size, fit)
    pixels = pixels_of_folder(images, cache, progress or Checkpointer())
    content: dict[str, Array] = {"class_names": np.array(layout.names)}
    begin = 0
    for split, listing in layout.splits.items():
        content[f"x_{split}"] = pixels[begin : begin + len(listing)]
        content[f"y_{split}"] = np.array([label for _, label in listing])
        begin += len(listing)
    arrays = checked(content, str(path))
    return replace(arrays, notes=(*layout.notes, *arrays.notes))
