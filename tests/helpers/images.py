"""Tiny image sets."""

from __future__ import annotations

import torch

from condense.data.image_data import ImageData
from condense.seeds import generator


def blobs(per_class: int = 20, classes: int = 3, shape=(1, 8, 8), seed: int = 0) -> ImageData:
    """Images of a class share a noisy pattern; easy to learn, quick to condense."""
    draws = generator(seed, "blobs")
    patterns = torch.rand(classes, *shape, generator=draws)

    def split(n: int):
        labels = torch.arange(classes).repeat(n)
        noise = 0.3 * torch.randn(len(labels), *shape, generator=draws)
        pixels = (patterns[labels] + noise).clamp(0, 1)
        return (pixels * 255).to(torch.uint8), labels

    x_train, y_train = split(per_class)
    x_test, y_test = split(10)
    names = tuple("abcdefghij"[:classes])
    channels = shape[0]
    return ImageData(
        "blobs", x_train, y_train, x_test, y_test, (0.5,) * channels, (0.25,) * channels, names
    )
