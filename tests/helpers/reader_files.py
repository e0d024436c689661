"""The files that a reader of the documents has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from condense import load_condensed
from tests.helpers.folders import write_photos
from tests.helpers.split_images import write_images

SHAPES = {"mnist": (28, 28), "cifar10": (32, 32, 3)}
"""Of the data sets that would be downloaded."""


def write_files(folder: Path, code: str) -> None:
    """Write the files and the data sets that `code` names."""
    if "photos" in code:
        write_photos(folder / "photos", per_class=13)
    if "archive.npz" in code:
        pixels = np.random.default_rng(0).random((26, 3, 16, 16))
        labels = np.array(["cat", "dog"] * 13)
        np.savez(folder / "archive.npz", x_train=pixels, y_train=labels)
    foreign = "res_DSA_MNIST_ConvNet_1ipc.pt"
    if foreign in code:
        small = load_condensed("mnist", ipc=1)
        torch.save({"data": [[small.normalised(), small.labels]]}, folder / foreign)
    for name, shape in SHAPES.items():
        if name in code:
            write_images(folder / "data", name, shape)
