"""The named datasets: their source, shape, classes and normalisation."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from condense.data.archives import read_npz, write_npz
from condense.data.arrays import ImageArrays
from condense.data.builtin import (
    SYNTHDIGITS_VERSION,
    digits,
    mnist5k,
    synthdigits,
)
from condense.data.download import download
from condense.data.image_arrays import Array
from condense.errors import UserError
from condense.runs.io import writing
from condense.runs.paths import user_path

DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
CIFAR10_NAMES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
CHUNK = 1024  # images processed at a time


@dataclass(frozen=True)
class Known:
    """A named dataset: image shape (c, h, w), class names, mean and std.

    `make` renders or unpacks a dataset that needs no download; `kept` is then the name of its
    file, or None if making is faster than reading a file. If `mean` and `std` are None, they are
    computed. `hflip`: whether a mirrored image still shows its class.
    """

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    hflip: bool
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    make: Callable[[], ImageArrays] | None = None
    kept: str | None = None


DATASETS: dict[str, Known] = {
    "mnist": Known((1, 28, 28), DIGIT_NAMES, False, (0.1307,), (0.3081,)),
    "fashionmnist": Known((1, 28, 28), FASHION_NAMES, True, (0.2861,), (0.3530,)),
    "svhn": Known(
        (3, 32, 32), DIGIT_NAMES, False, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    ),
    "usps": Known((1, 16, 16), DIGIT_NAMES, False),
    "cifar10": Known(
        (3, 32, 32), CIFAR10_NAMES, True, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    ),
    "cifar100": Known(
        (3, 32, 32),
        tuple(str(number) for number in range(100)),
        True,
        (0.5071, 0.4866, 0.4409),
        (0.2673, 0.2564, 0.2762),
    ),
    "digits": Known((1, 8, 8), DIGIT_NAMES, False, make=digits),
    "mnist5k": Known((1, 28, 28), DIGIT_NAMES, False, make=mnist5k),
    "synthdigits": Known(
        (3, 32, 32),
        DIGIT_NAMES,
        False,
        make=synthdigits,
        kept=f"synthdigits-{SYNTHDIGITS_VERSION}",
    ),
}
"""The data sets by name: image shape, class names, normalisation."""


def data_root(root: Path | None) -> Path:
    """The folder of the datasets: `root`, else `$CONDENSE_DATA`, else the user's cache folder.

    Raises:
        UserError: the path is invalid.
    """
    from platformdirs import user_cache_path

    if root is not None:
        return user_path(root, "--data-root")
    given = os.environ.get("CONDENSE_DATA")
    if given:
        return user_path(given, "$CONDENSE_DATA")
    return user_path(user_cache_path("condense", appauthor=False), "the cache folder")


def fetch(name: str, root: Path) -> ImageArrays:
    """The arrays of the dataset `name` of `DATASETS`, with mean, std and class names.

    They are read from ROOT/NAME.npz, or else made or downloaded and written there.

    Raises:
        UserError: the file is invalid, or cannot be downloaded or written.
    """
    known = DATASETS[name]
    if known.make is not None and known.kept is None:
        return _completed(known.make(), known, name)
    path = root / f"{known.kept or name}.npz"
    if os.path.lexists(path):
        return _kept(path, known)
    if known.make is None:
        arrays = _completed(download(name, root), known, name)
        with writing(path, "--data-root, or $CONDENSE_DATA"):
            write_npz(path, arrays)
        return arrays
    arrays = _completed(known.make(), known, name)
    # Images that can be rendered again need not be stored: a read-only root is not an error here.
    with contextlib.suppress(UserError):
        write_npz(path, arrays)
    return arrays


def _kept(path: Path, known: Known) -> ImageArrays:
    try:
        return _completed(read_npz(path), known, str(path))
    except UserError as problem:
        again = "rendered" if known.make else "downloaded"
        raise UserError(f"{problem}; delete this file, then it is {again} again") from problem


def _completed(arrays: ImageArrays, known: Known, source: str) -> ImageArrays:
    """Check the arrays against `known`, and fill in missing values."""
    if arrays.shape != known.shape or arrays.classes != len(known.class_names):
        raise UserError(
            f"{source}: {arrays.classes} classes of images {_size(arrays.shape)}, but this set has "
            f"{len(known.class_names)} of {_size(known.shape)}, and others are loaded by their path"
        )
    arrays = replace(arrays, class_names=arrays.class_names or known.class_names)
    if known.mean is not None and known.std is not None:
        return replace(arrays, mean=known.mean, std=known.std)
    return with_statistics(arrays)


def _size(shape: tuple[int, int, int]) -> str:
    return "×".join(str(length) for length in shape)


def with_statistics(arrays: ImageArrays) -> ImageArrays:
    """The arrays with `mean` and `std`, computed from the training split if missing."""
    if arrays.mean is not None and arrays.std is not None:
        return arrays
    mean, std = measure(arrays.x_train)
    return replace(arrays, mean=mean, std=std)


def measure(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of uint8 images `[n, h, w, c]`, scaled to 0..1.

    One pass that counts each pixel value: exact, without a float copy. The deviation of a constant
    channel is 1, so that it is normalised to zeros, not to NaN.
    """
    channels = images.shape[3]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), CHUNK):
        for channel in range(channels):
            levels = images[start : start + CHUNK, ..., channel].ravel()
            counts[channel] += np.bincount(levels, minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    level = np.arange(256) / 255
    mean = share @ level
    std = np.sqrt((share * (level - mean[:, None]) ** 2).sum(axis=1))
    std[(share == 1).any(axis=1)] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())
