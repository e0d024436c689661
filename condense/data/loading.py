"""Loading datasets by name or path."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from condense.data.arrays import Array, ImageArrays
from condense.data.folders import read
from condense.data.image_data import ImageData
from condense.data.registry import DATASETS as DATASETS
from condense.data.registry import data_root, fetch, with_statistics
from condense.errors import UnavailableError, unknown
from condense.runs.io import is_file
from condense.runs.paths import user_path


def load(name_or_path: str | Path, root: Path | None = None) -> ImageData:
    """Load a dataset by name, or from the path of an `.npz` file or a folder.

    A named dataset is read from ROOT/NAME.npz (ROOT is `root`, else `$CONDENSE_DATA`, else the
    user's cache folder); if the file does not exist, it is downloaded and written there.

    >>> from condense import load
    >>> load("digits").shape
    (1, 8, 8)

    Raises:
        UserError: there is no such dataset, or its file is invalid.
    """
    name = str(name_or_path)
    if name in DATASETS:
        return _from_arrays(name, fetch(name, data_root(root)), DATASETS[name].hflip)
    path = user_path(name, "the data set")
    if not (path.exists() or path.suffix == ".npz" or path.name != name):
        raise unknown("data set", name, DATASETS)
    return _from_arrays(path.stem, with_statistics(read(path)), hflip=True)


def load_or_embedded(
    names: Sequence[str], embedded: Sequence[str], root: Path | None = None
) -> list[ImageData]:
    """Load the datasets `names`; if one is unavailable, print a warning and load `embedded`.

    Raises:
        UserError: the file of a dataset exists but is invalid.
    """
    try:
        return [load(name, root) for name in names]
    except UnavailableError as reason:
        print(
            f"WARNING: {', '.join(names)} cannot be loaded; {', '.join(embedded)} "
            f"{'is' if len(embedded) == 1 else 'are'} used instead ({reason})",
            file=sys.stderr,
        )
        return [load(name, root) for name in embedded]


def available(name_or_path: str | Path, root: Path | None = None) -> bool:
    """Whether `load` needs no network for this dataset: it is embedded, or on disk.

    Raises:
        UserError: the path is invalid.
    """
    name = str(name_or_path)
    if name not in DATASETS:
        return user_path(name, "the data set").exists()
    return DATASETS[name].make is not None or is_file(data_root(root) / f"{name}.npz")


def _from_arrays(name: str, arrays: ImageArrays, hflip: bool) -> ImageData:
    assert arrays.mean is not None
    assert arrays.std is not None
    return ImageData(
        name=name,
        x_train=_images(arrays.x_train),
        y_train=torch.from_numpy(arrays.y_train),
        x_test=_images(arrays.x_test),
        y_test=torch.from_numpy(arrays.y_test),
        mean=arrays.mean,
        std=arrays.std,
        class_names=arrays.class_names or tuple(str(label) for label in range(arrays.classes)),
        hflip=hflip,
    )


def _images(images: Array) -> Tensor:
    """Contiguous `[n, c, h, w]` from `[n, h, w, c]`."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
