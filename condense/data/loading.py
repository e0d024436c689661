"""Loading datasets by name or path."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from condense.data.image_data import ImageData
from condense.data.image_files import Fit
from condense.data.registry import DATASETS, data_root, fetch
from condense.errors import UnavailableError, UserError, unknown
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer
from condense.runs.io import is_file
from condense.runs.paths import user_path
from condense.system.plain_torch import plain_torch
from condense.validation import with_article


@plain_torch()
def load(
    name_or_path: str | Path,
    root: Path | None = None,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    hflip: bool = True,
    cache: Cache | None = None,
    progress: Checkpointer | None = None,
) -> ImageData:
    """Load a dataset by name, or from the path of an `.npz` file or a folder.

    A named dataset is read from ROOT/NAME.npz (ROOT is `root`, else `$CONDENSE_DATA`, else the
    user's cache folder); if the file does not exist, it is downloaded and written there.

    Args:
        name_or_path: a name in `DATASETS`, or a path, as for `ImageData.from_folder`.
        root: the folder of the named datasets.
        size: side of the images; needed for a folder whose images differ in size.
        fit: how they get this size: crop (the square in the middle) or resize (the whole image).
        hflip: False: a mirrored image does not show its class; it never does in sets of digits.
        cache: keeps the decoded images of a large folder; None: they are decoded every time.
        progress: receives reports while the images of a folder are decoded, usually a `Progress`.

    >>> from condense import load
    >>> load("digits").shape, load("digits", size=16).shape
    ((1, 8, 8), (1, 16, 16))

    Raises:
        UserError: there is no such dataset, or its file is invalid.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        kind = with_article(type(name_or_path))
        raise UserError(
            f"a data set is given by its name or path, not by {kind}: make "
            "an ImageData of it with ImageData.from_dataset, or with from_arrays of its arrays"
        )
    name = str(name_or_path)
    if name in DATASETS:
        data = ImageData.of(fetch(name, data_root(root)), name, DATASETS[name].hflip)
        data = data if size is None else data.squared(size, fit)
        return data if hflip else data.without_hflip()
    path = user_path(name, "the data set")
    if not (path.exists() or path.suffix == ".npz" or path.name != name):
        missing = unknown("data set", name, DATASETS)
        raise UserError(f"{missing}; and there is no file or folder of this name")
    return ImageData.from_folder(
        path, size=size, fit=fit, hflip=hflip, cache=cache, progress=progress
    )


def load_or_embedded(
    names: Sequence[str],
    embedded: Sequence[str],
    root: Path | None = None,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    hflip: bool = True,
) -> list[ImageData]:
    """Load the datasets `names`; if one is unavailable, print a warning and load `embedded`.

    The other arguments are those of `load`.

    Raises:
        UserError: the file of a dataset exists but is invalid.
    """
    try:
        return [load(name, root, size=size, fit=fit, hflip=hflip) for name in names]
    except UnavailableError as reason:
        print(
            f"WARNING: {', '.join(names)} cannot be loaded; {', '.join(embedded)} "
            f"{'is' if len(embedded) == 1 else 'are'} used instead ({reason})",
            file=sys.stderr,
        )
        return [load(name, root, size=size, fit=fit, hflip=hflip) for name in embedded]


def as_image_data(data: ImageData | str | Path, cache: Cache | None = None) -> ImageData:
    """`data` itself, or what `load` makes of a name or path."""
    return data if isinstance(data, ImageData) else load(data, cache=cache)


def source_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """`path`, `size`, `fit` and `hflip` of the data that a set was made from, as far as known.

    Args:
        provenance: of the set; it may come from a damaged file.
    """
    source = provenance.get("source")
    if not isinstance(source, Mapping):
        return {}
    kinds = {"path": str, "size": int, "fit": str, "hflip": bool}
    return {
        name: source[name] for name, kind in kinds.items() if isinstance(source.get(name), kind)
    }


def images_of(
    provenance: Mapping[str, Any],
    dataset: str | None = None,
    size: int | None = None,
    fit: Fit = "crop",
    hflip: bool = True,
) -> tuple[str | None, int | None, Fit, bool]:
    """`dataset`, `size`, `fit` and `hflip` as for `load`: those of the user, else those of a set.

    Args:
        provenance: of the set; it may come from a damaged file.
        dataset: of the user; None: the images that the set was made from.
        size: of the user; None: that of the images of the set, which then also gives `fit`.
        fit: of the user.
        hflip: of the user; True: that of the images of the set.

    Returns:
        The same; the data set is None if neither says it.
    """
    source = source_of(provenance)
    if size is None and "size" in source:
        size, fit = source["size"], source.get("fit", fit)
    hflip = hflip and source.get("hflip", True)
    return dataset or source.get("path") or provenance.get("dataset"), size, fit, hflip


def from_anywhere(dataset: str) -> str:
    """A dataset as `load` finds it from every folder: a path becomes absolute, a name stays.

    Raises:
        UserError: the path is invalid.
    """
    if dataset in DATASETS:
        return dataset
    path = user_path(dataset, "the data set")
    return str(path.resolve()) if path.exists() else dataset


def available(name_or_path: str | Path, root: Path | None = None) -> bool:
    """Whether `load` needs no network for this dataset: it is embedded, or on disk.

    Raises:
        UserError: the path is invalid.
    """
    name = str(name_or_path)
    if name not in DATASETS:
        return user_path(name, "the data set").exists()
    return DATASETS[name].make is not None or is_file(data_root(root) / f"{name}.npz")
