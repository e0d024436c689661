"""Checks of the fields of a condensed set, before it is written and after it was read."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from condense.data.labels import check_class_name

SUM_TOLERANCE = 1e-4
"""Allowed deviation from 1 of the sum of a soft label in float32."""


def check_fields(
    images: Tensor,
    labels: Tensor,
    mean: Sequence[float],
    std: Sequence[float],
    class_names: Sequence[str],
    distill_lrs: Tensor | None,
) -> None:
    """Check the fields of a set that a file can have.

    Raises:
        ValueError, UserError: one is invalid, or they do not fit each other.
    """
    check_images(images)
    check_moments(mean, std, images.shape[1])
    check_names(class_names)
    check_labels(labels, len(images), len(class_names))
    if distill_lrs is not None:
        check_lrs(distill_lrs, labels, len(class_names))


def check_images(images: Tensor) -> None:
    """Raise ValueError if these are not images."""
    if images.dtype != torch.float32 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, not float32 [n, c, h, w]"
        )
    if not images.numel():
        raise ValueError("images are empty")
    if not images.isfinite().all():
        raise ValueError("images hold NaN or infinite values")


def check_moments(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Raise ValueError if this is no normalisation of images with so many channels."""
    if len(mean) != channels or len(std) != channels:
        raise ValueError("mean and std are not one number per channel")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError("mean and std are not finite, or std is not above 0")


def check_names(names: Sequence[str]) -> None:
    """Raise ValueError or UserError if these are no names of different classes."""
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names are not a list of names")
    for name in names:
        check_class_name(name)
    if len(set(names)) < len(names):
        raise ValueError("two classes have the same name")


def check_labels(labels: Tensor, images: int, classes: int) -> None:
    """Raise ValueError if these are not hard or soft labels of the images and classes."""
    if labels.dtype == torch.int64 and labels.shape == (images,):
        if sorted(set(labels.tolist())) != list(range(classes)):
            raise ValueError(f"labels are not 0 to {classes - 1}, each at least once")
    elif labels.dtype in (torch.float32, torch.uint8) and labels.shape == (images, classes):
        sums = labels.double().sum(1)
        if labels.dtype == torch.uint8:
            if not (sums > 0).all():
                raise ValueError("a soft label has no probability above 0")
        elif not (labels >= 0).all() or not ((sums - 1).abs() <= SUM_TOLERANCE).all():
            raise ValueError("soft labels are not rows of probabilities that sum to 1")
        if images % classes:
            raise ValueError(
                f"{images} images with soft labels cannot be divided equally among "
                f"{classes} classes"
            )
    else:
        raise ValueError(
            f"labels are {labels.dtype} {list(labels.shape)}, neither int64 [{images}] nor float32 "
            f"or uint8 [{images}, {classes}]"
        )


def check_lrs(lrs: Tensor, labels: Tensor, classes: int) -> None:
    """Raise ValueError if these are not learning rates, or do not match the labels."""
    if lrs.dtype != torch.float32 or lrs.ndim != 2 or not lrs.numel():
        raise ValueError(
            f"distill_lrs are {lrs.dtype} {list(lrs.shape)}, not float32 [epochs, steps]"
        )
    if not lrs.isfinite().all() or not (lrs > 0).all():
        raise ValueError("distill_lrs are not all finite and above 0")
    ipc, rest = divmod(len(labels), classes)
    if rest or ipc % lrs.shape[1]:
        raise ValueError(f"{len(labels)} images of {classes} classes for {lrs.shape[1]} steps")
    if labels.ndim == 1 and not torch.equal(labels, torch.arange(classes).repeat_interleave(ipc)):
        raise ValueError("images of a set with distill_lrs must be ordered by class")
