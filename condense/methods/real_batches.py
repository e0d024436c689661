"""Batches of real images of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from condense.augment.params import AugmentParams
from condense.data.image_data import ImageData


def real_rows(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """Rows of `count` sampled real images of each class, int64 [n]; all of a smaller class."""
    rows = data.train_indices_by_class()
    return [row[torch.randperm(len(row), generator=draws)[:count]] for row in rows]


def augmented(
    data: ImageData, rows: Sequence[Tensor], omega: AugmentParams | None = None
) -> Iterator[Tensor]:
    """The images of these rows, normalised and augmented, one class after the other, so that only
    the images of one class are in memory as floats."""
    for label, row in enumerate(rows):
        images = data.normalise(data.x_train[row])
        yield omega[label : label + 1].apply([images])[0] if omega else images
