"""What methods that learn images share: what they start from, and real images to compare with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from condense.augment import Omega
from condense.data import ImageData
from condense.methods.coresets import choose_randomly, herd
from condense.seeds import generator
from condense.settings import Coreset, LearnedImages


def initial_images(data: ImageData, settings: LearnedImages, seed: int) -> Tensor:
    """What the synthetic images start from, [classes, ipc, c, h, w], normalised.

    Raises:
        UserError: for a class with too few images, where they start from real ones.
    """
    draws = generator(seed, "init")
    size = (data.classes, settings.ipc, *data.shape)
    if settings.init == "noise":
        return torch.randn(size, generator=draws).to(data.device)
    if settings.init == "herding":
        like = Coreset(settings.ipc, settings.network, settings.herding_updates)
        rows = herd(data, like, seed)
    else:
        rows = choose_randomly(data, settings.ipc, seed)
    return data.normalise(data.x_train[rows]).view(size)


def real_rows(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """Which real images of each class are drawn, int64 [n]; all of a class that has fewer."""
    rows = data.train_indices_by_class()
    return [row[torch.randperm(len(row), generator=draws)[:count]] for row in rows]


def real_images(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """Real images of each class, [n, c, h, w], normalised; all of a class that has fewer."""
    return [data.normalise(data.x_train[row]) for row in real_rows(data, count, draws)]


def augmented(data: ImageData, rows: Sequence[Tensor], omega: Omega | None) -> Iterator[Tensor]:
    """The images of these rows, normalised and augmented: one class after the other, so that no
    more than the images of one are there as floats."""
    for label, row in enumerate(rows):
        images = data.normalise(data.x_train[row])
        yield omega[label : label + 1].apply([images])[0] if omega else images
