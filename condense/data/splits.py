"""The split of images into training and test images, where a source has no test images."""

from __future__ import annotations

import numpy as np
import torch

from condense.data.image_arrays import Array
from condense.seeds import generator

TEST_SHARE = 0.2
"""The share of each class in the test split."""
SEED = 0
"""Of the split; not the seed of a run, so that runs with different seeds have the same images."""


def stratified(labels: Array, *names: str) -> tuple[Array, Array]:
    """Rows of the training and of the test images, both shuffled; always the same.

    `TEST_SHARE` of each class is for testing, and at least one of two or more images.

    Args:
        labels: int64 [n].
        names: of the random stream, see `condense.seeds`.
    """
    draws = generator(SEED, *names, "split")
    drawn = torch.randperm(len(labels), generator=draws).numpy()
    tested = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = drawn[labels[drawn] == label]
        count = max(round(TEST_SHARE * len(members)), int(len(members) > 1))
        tested[members[:count]] = True
    # A second permutation: in the first, the test images of each class come first.
    order = torch.randperm(len(labels), generator=draws).numpy()
    return order[~tested[order]], order[tested[order]]
