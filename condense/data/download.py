"""Public datasets downloaded with torchvision, as `ImageArrays`."""

from __future__ import annotations

import http.client
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from condense.data.arrays import ImageArrays, checked
from condense.data.image_arrays import Array
from condense.errors import UnavailableError, one_line

SECONDS_WITHOUT_AN_ANSWER = 20.0

# A split: images [n, h, w] or [n, h, w, c], labels [n], class names of torchvision.
Split = tuple[Array, Array, list[str] | None]


def download(name: str, root: Path) -> ImageArrays:
    """Download the dataset `name` of `FETCHERS`; temporary files are created in `root`.

    Raises:
        UnavailableError: the download failed; the message names the file to provide instead.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as folder, _impatient():
            x_train, y_train, names = FETCHERS[name](folder, True)
            x_test, y_test, _ = FETCHERS[name](folder, False)
    except (OSError, RuntimeError, EOFError, http.client.HTTPException) as reason:
        raise UnavailableError(
            f"{name} could not be downloaded ({one_line(reason)}); put it there yourself as "
            f"{root / name}.npz with the keys x_train y_train x_test y_test "
            "(uint8 images [n, h, w] or [n, h, w, 3], integer labels)"
        ) from reason
    content = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    if names is not None:
        content["class_names"] = np.array(names)
    return checked(content, f"{name} as downloaded")


@contextmanager
def _impatient() -> Iterator[None]:
    """Set a timeout for connections; torchvision sets none and could wait forever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_WITHOUT_AN_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _fetch(kind: str, folder: str, train: bool, *, named: bool = False) -> Split:
    """A split of a class of torchvision with `data` and `targets`; its class names if `named`."""
    from torchvision import datasets

    split = getattr(datasets, kind)(folder, train=train, download=True)
    return _split(split.data, split.targets, split.classes if named else None)


def _fetch_svhn(folder: str, train: bool) -> Split:
    from torchvision.datasets import SVHN

    split = SVHN(folder, split="train" if train else "test", download=True)
    return _split(split.data.transpose(0, 2, 3, 1), split.labels)


def _split(images: Any, labels: Any, names: list[str] | None = None) -> Split:
    return np.asarray(images), np.asarray(labels, dtype=np.int64), names


FETCHERS: dict[str, Callable[[str, bool], Split]] = {
    "mnist": partial(_fetch, "MNIST"),
    "fashionmnist": partial(_fetch, "FashionMNIST", named=True),
    "svhn": _fetch_svhn,
    "usps": partial(_fetch, "USPS"),
    "cifar10": partial(_fetch, "CIFAR10", named=True),
    "cifar100": partial(_fetch, "CIFAR100", named=True),
}
