"""Code shared by methods that learn images: initialisation, real batches, the main loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from condense.augment.params import AugmentParams
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset, LearnedImages
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.selection import herd, select_randomly
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.system.memory import check_memory


def initial_images(data: ImageData, settings: LearnedImages, seed: int) -> Tensor:
    """The initial synthetic images, [classes, ipc, c, h, w], normalised.

    Raises:
        UserError: a class has too few images to initialise from, or the images exceed the memory.
    """
    draws = generator(seed, "init")
    # Images, momentum, gradient and a copy for the checkpoint, 4 bytes per number each.
    numbers = data.classes * settings.ipc * math.prod(data.shape)
    check_memory(16 * numbers, f"{settings.ipc} images per class are too many: learning them")
    size = (data.classes, settings.ipc, *data.shape)
    if settings.init == "noise":
        return torch.randn(size, generator=draws).to(data.device)
    if settings.init == "herding":
        like = Coreset(settings.ipc, settings.network, settings.herding_steps)
        rows = herd(data, like, seed)
    else:
        rows = select_randomly(data, settings.ipc, seed)
    return data.normalise(data.x_train[rows]).view(size)


def images_like(data: ImageData, settings: LearnedImages) -> Tensor:
    """A tensor with shape, dtype and device of the synthetic images, without their memory."""
    blank = torch.empty((), device=data.device)
    return blank.expand(data.classes, settings.ipc, *data.shape)


def real_rows(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """Rows of `count` sampled real images of each class, int64 [n]; all of a smaller class."""
    rows = data.train_indices_by_class()
    return [row[torch.randperm(len(row), generator=draws)[:count]] for row in rows]


def real_images(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """The images of `real_rows`: for each class [n, c, h, w], normalised."""
    return [data.normalise(data.x_train[row]) for row in real_rows(data, count, draws)]


def augmented(
    data: ImageData, rows: Sequence[Tensor], omega: AugmentParams | None
) -> Iterator[Tensor]:
    """The images of these rows, normalised and augmented, one class after the other, so that only
    the images of one class are in memory as floats."""
    for label, row in enumerate(rows):
        images = data.normalise(data.x_train[row])
        yield omega[label : label + 1].apply([images])[0] if omega else images


def require_finite(figure: float, k: int) -> None:
    """Check the loss or distance of iteration k (from 0).

    Raises:
        UserError: it is infinite or NaN.
    """
    if not math.isfinite(figure):
        raise UserError(f"diverged at iteration {k + 1}: use lower learning rates")


def match_images(
    data: ImageData,
    settings: LearnedImages,
    seed: int,
    checkpointer: Checkpointer,
    iterations: int,
    step: Callable[[Tensor, Tensor, int], float],
) -> CondensedSet:
    """Optimise the images by gradient descent with momentum, and return the set.

    Args:
        data: the training set.
        settings: the initialisation and the number of images.
        seed: for the initialisation.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.
        iterations: number of calls of `step`.
        step: called with the images [classes, ipc, c, h, w], normalised, their momentum of the
            same shape, and the iteration; updates both in place and returns the distance.

    Raises:
        UserError: a class has too few images to initialise from, or the distance is not finite.
    """
    before = checkpointer.restore()
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
        checkpointer.report(k + 1, iterations, distance=distance)
        checkpointer.save(
            Checkpoint({"images": images, "velocity": velocity}, {"iteration": k + 1})
        )
    labels = torch.arange(data.classes).repeat_interleave(settings.ipc)
    return CondensedSet.from_normalised(images.flatten(0, 1), labels, data)
