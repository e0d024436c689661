"""What methods that learn images share: a start, real images to compare with, a loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from condense.augment import Omega
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.errors import UserError
from condense.journal import Checkpoint, Journal
from condense.machine import check_memory
from condense.methods.coresets import choose_randomly, herd
from condense.seeds import generator
from condense.settings import Coreset, LearnedImages


def initial_images(data: ImageData, settings: LearnedImages, seed: int) -> Tensor:
    """What the synthetic images start from, [classes, ipc, c, h, w], normalised.

    Raises:
        UserError: for a class with too few images, where they start from real ones; for more
            images than memory holds.
    """
    draws = generator(seed, "init")
    # Images, their momentum, their gradient and a copy for the checkpoint, 4 bytes a number.
    numbers = data.classes * settings.ipc * math.prod(data.shape)
    check_memory(16 * numbers, f"{settings.ipc} images per class are too many: learning them")
    size = (data.classes, settings.ipc, *data.shape)
    if settings.init == "noise":
        return torch.randn(size, generator=draws).to(data.device)
    if settings.init == "herding":
        like = Coreset(settings.ipc, settings.network, settings.herding_updates)
        rows = herd(data, like, seed)
    else:
        rows = choose_randomly(data, settings.ipc, seed)
    return data.normalise(data.x_train[rows]).view(size)


def images_like(data: ImageData, settings: LearnedImages) -> Tensor:
    """Of the shape, type and device of the synthetic images, without their memory."""
    blank = torch.empty((), device=data.device)
    return blank.expand(data.classes, settings.ipc, *data.shape)


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


def require_finite(figure: float, k: int) -> None:
    """Check what the k-th iteration, counted from 0, came to.

    Raises:
        UserError: it is infinite or no number, and so is all that would follow.
    """
    if not math.isfinite(figure):
        raise UserError(f"it diverged at iteration {k + 1}: take lower learning rates")


def match_images(
    data: ImageData,
    settings: LearnedImages,
    seed: int,
    journal: Journal,
    iterations: int,
    step: Callable[[Tensor, Tensor, int], float],
) -> CondensedSet:
    """The set whose images so many iterations have moved, by gradient descent with momentum.

    Args:
        data: the training set.
        settings: what the images start from, and how many there are.
        seed: of what they start from.
        journal: told of every iteration; an interrupted run goes on from it.
        iterations: how often `step` is taken.
        step: given the images [classes, ipc, c, h, w], normalised, their momentum of the same
            shape and the number of the iteration, it moves both in place and says how far real
            and synthetic images were apart.

    Raises:
        UserError: for a class with too few images, where they start from real ones; and where the
            distance is not finite any more.
    """
    before = journal.restore()
    if before:
        start = before.count("iteration", iterations)
        like = images_like(data, settings)
        images, velocity = (before.tensor(name, like) for name in ("images", "velocity"))
    else:
        start, images = 0, initial_images(data, settings, seed)
        velocity = torch.zeros_like(images)
    for k in range(start, iterations):
        distance = step(images, velocity, k)
        require_finite(distance, k)
        journal.report(k + 1, iterations, distance=distance)
        journal.save(Checkpoint({"images": images, "velocity": velocity}, {"iteration": k + 1}))
    labels = torch.arange(data.classes).repeat_interleave(settings.ipc)
    return CondensedSet.from_normalised(images.flatten(0, 1), labels, data)
