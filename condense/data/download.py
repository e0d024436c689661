"""Public datasets downloaded with torchvision, as `ImageArrays`."""

from __future__ import annotations

import http.client
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from condense.data.arrays import Array, ImageArrays, checked
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


def _split(images: Any, labels: Any, names: list[str] | None = None) -> Split:
    return np.asarray(images), np.asarray(labels, dtype=np.int64), names


def _mnist(folder: str, train: bool) -> Split:
    from torchvision.datasets import MNIST

    split = MNIST(folder, train=train, download=True)
    return _split(split.data, split.targets)


def _fashionmnist(folder: str, train: bool) -> Split:
    from torchvision.datasets import FashionMNIST

    split = FashionMNIST(folder, train=train, download=True)
    return _split(split.data, split.targets, split.classes)


def _svhn(folder: str, train: bool) -> Split:
    from torchvision.datasets import SVHN

    split = SVHN(folder, split="train" if train else "test", download=True)
    return _split(split.data.transpose(0, 2, 3, 1), split.labels)


def _usps(folder: str, train: bool) -> Split:
    from torchvision.datasets import USPS

    split = USPS(folder, train=train, download=True)
    return _split(split.data, split.targets)


def _cifar10(folder: str, train: bool) -> Split:
    from torchvision.datasets import CIFAR10

    split = CIFAR10(folder, train=train, download=True)
    return _split(split.data, split.targets, split.classes)


def _cifar100(folder: str, train: bool) -> Split:
    from torchvision.datasets import CIFAR100

    split = CIFAR100(folder, train=train, download=True)
    return _split(split.data, split.targets, split.classes)


FETCHERS: dict[str, Callable[[str, bool], Split]] = {
    "mnist": _mnist,
    "fashionmnist": _fashionmnist,
    "svhn": _svhn,
    "usps": _usps,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
}
