"""The main loop of the methods that take steps of the images."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import OptimisedImages
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.initialisation import images_like, initial_images
from condense.methods.synthetic import SyntheticImages
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.storage.capacity import codec_of, stored_set

if TYPE_CHECKING:
    from PIL.Image import Image


def require_finite(metric: float, k: int) -> None:
    """Check the loss or distance of iteration k (from 0).

    Raises:
        UserError: it is infinite or NaN.
    """
    if not math.isfinite(metric):
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


def optimise_images(
    data: ImageData,
    settings: OptimisedImages,
    seed: int,
    checkpointer: Checkpointer,
    step: Callable[[SyntheticImages, int], float],
    learnt: Learnt | None = None,
    metric: str = "distance",
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
        metric: name of what `step` returns, in the history.

    Raises:
        UserError: a class has too few images to initialise from, or the distance is not finite.
    """
    iterations, before = settings.iterations, checkpointer.restore()
    if before:
        start = before.count("iteration", iterations)
        images = synthetic_images(data, settings, images_like(data, settings))
        images.restore(before)
        if learnt:
            learnt.restore(before)
    else:
        start = 0
        initial = initial_images(data, settings, seed, checkpointer)
        images = synthetic_images(data, settings, initial)
    for k in range(start, iterations):
        distance = step(images, k)
        require_finite(distance, k)
        checkpointer.report(k + 1, iterations, **{metric: distance})
        checkpointer.draw(k + 1, iterations, partial(_picture, images, data))
        tensors = {**images.state(), **(learnt.state() if learnt else {})}
        checkpointer.save(Checkpoint(tensors, {"iteration": k + 1}))
    planes = [plane.detach().flatten(0, 1) for plane in images.planes]
    require_finite(float(sum(plane.sum() for plane in planes)), iterations - 1)
    labels = torch.arange(data.classes).repeat_interleave(len(planes[0]) // data.classes)
    return stored_set(data, settings, images.codec, planes, labels)
