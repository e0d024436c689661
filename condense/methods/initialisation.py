"""Code shared by methods that learn images: initialisation, real batches, the main loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from condense.augment.params import AugmentParams
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset, LearnedImages, MethodSettings, OptimisedImages
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.foreign_sets import load_set
from condense.methods.selection import herd, require_images, select_randomly, smallest_class
from condense.methods.synthetic import SyntheticImages
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.runs.paths import user_path
from condense.seeds import generator
from condense.storage.capacity import codec_of, images_per_class, stored_set
from condense.system.memory import check_memory

if TYPE_CHECKING:
    from PIL.Image import Image


def initial_images(data: ImageData, settings: LearnedImages, seed: int) -> Tensor:
    """The initial synthetic images, [classes, n, c, h, w], normalised.

    n is `images_per_class`. Images of a class with fewer real images are repeated.

    Raises:
        UserError: a class has fewer than `settings.ipc` images to initialise from, the set to
            initialise from is not one of such images, or the images exceed the memory.
    """
    draws, count = generator(seed, "init"), images_per_class(data, settings)
    # Images, momentum, gradient and a copy for the checkpoint, 4 bytes per number each.
    numbers = data.classes * count * math.prod(data.shape)
    check_memory(16 * numbers, f"{settings.ipc} images per class are too many: learning them")
    size = (data.classes, count, *data.shape)
    if settings.init == "noise":
        return torch.randn(size, generator=draws).to(data.device)
    if settings.reads_files:
        return images_of_set(data, settings.init, count)
    require_images(data, settings.ipc)
    distinct = min(count, smallest_class(data))
    if settings.init == "herding":
        shared = {item.name: getattr(settings, item.name) for item in fields(MethodSettings)}
        like = Coreset(**shared, steps=settings.herding_steps)
        rows = herd(data, like, distinct, seed)
    else:
        rows = select_randomly(data, distinct, seed)
    rows = rows[:, torch.arange(count, device=rows.device) % distinct]
    return data.normalise(data.x_train[rows]).view(size)


def images_of_set(data: ImageData, path: str, count: int) -> Tensor:
    """The first `count` images of each class of a condensed set, [classes, count, c, h, w],
    normalised; repeated if there are fewer.

    Raises:
        UserError: the file is not a condensed set of images like these.
    """
    given = load_set(user_path(path, "--init"), data)
    given.check_fits(data)
    classes = [(given.hard_labels == label).nonzero()[:, 0] for label in range(given.classes)]
    chosen = torch.stack([rows[torch.arange(count) % len(rows)] for rows in classes])
    return given.normalised(data)[chosen].to(data.device)


def images_like(data: ImageData, settings: LearnedImages) -> Tensor:
    """A tensor with shape, dtype and device of the synthetic images, without their memory."""
    blank = torch.empty((), device=data.device)
    return blank.expand(data.classes, images_per_class(data, settings), *data.shape)


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


def learning_rate(settings: OptimisedImages, k: int) -> float:
    """The learning rate of the images in iteration k (from 0)."""
    if settings.lr_img_schedule == "constant":
        return settings.lr_img
    return settings.lr_img * (1 + math.cos(math.pi * (k + 0.5) / settings.iterations)) / 2


def synthetic_images(data: ImageData, settings: OptimisedImages, images: Tensor) -> SyntheticImages:
    """Images [classes, n, c, h, w], normalised, in the planes of their codec."""
    codec = codec_of(data, settings)
    size, encoded = images.shape[:2], codec.encode(images.flatten(0, 1))
    return SyntheticImages(codec, [plane.unflatten(0, size) for plane in encoded], settings)


def blank_synthetic(data: ImageData, settings: OptimisedImages) -> SyntheticImages:
    """Synthetic images of the same shape, to be restored from a checkpoint."""
    codec, count = codec_of(data, settings), images_per_class(data, settings)
    size = (data.classes, count)
    planes = [torch.zeros(*size, *shape, device=data.device) for shape in codec.planes]
    return SyntheticImages(codec, planes, settings)


def _picture(images: SyntheticImages, data: ImageData) -> Image:
    """The images in a grid, one row per class."""
    learnt = images.images()
    labels = torch.arange(data.classes).repeat_interleave(learnt.shape[1])
    return CondensedSet.from_normalised(learnt.flatten(0, 1), labels, data).grid()


class Learnt(Protocol):
    """What is learnt besides the images."""

    def state(self) -> dict[str, Tensor]:
        """Named tensors for a checkpoint."""

    def restore(self, before: Checkpoint) -> None:
        """Load what `state` returned."""


def match_images(
    data: ImageData,
    settings: OptimisedImages,
    seed: int,
    checkpointer: Checkpointer,
    step: Callable[[SyntheticImages, int], float],
    learnt: Learnt | None = None,
    figure: str = "distance",
) -> CondensedSet:
    """Optimise the images, and return the set.

    Args:
        data: the training set.
        settings: the initialisation, the storage, the optimizer and the number of images.
        seed: for the initialisation.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.
        step: called in each iteration with the images and its number; makes one or more steps of
            the images and returns the distance.
        learnt: what `step` learns besides the images; it is part of the checkpoints.
        figure: name of what `step` returns, in the history.

    Raises:
        UserError: a class has too few images to initialise from, or the distance is not finite.
    """
    iterations, before = settings.iterations, checkpointer.restore()
    if before:
        start = before.count("iteration", iterations)
        images = blank_synthetic(data, settings)
        images.restore(before)
        if learnt:
            learnt.restore(before)
    else:
        start = 0
        images = synthetic_images(data, settings, initial_images(data, settings, seed))
    for k in range(start, iterations):
        distance = step(images, k)
        require_finite(distance, k)
        checkpointer.report(k + 1, iterations, **{figure: distance})
        checkpointer.draw(k + 1, iterations, partial(_picture, images, data))
        tensors = {**images.state(), **(learnt.state() if learnt else {})}
        checkpointer.save(Checkpoint(tensors, {"iteration": k + 1}))
    planes = [plane.detach().flatten(0, 1) for plane in images.planes]
    require_finite(float(sum(plane.sum() for plane in planes)), iterations - 1)
    labels = torch.arange(data.classes).repeat_interleave(len(planes[0]) // data.classes)
    return stored_set(data, settings, images.codec, planes, labels)
