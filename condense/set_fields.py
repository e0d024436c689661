"""The fields of a condensed set: from a file, from tensors of other code, of several sets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from condense.data.datasets import as_tensor
from condense.data.labels import check_class_name, listed
from condense.errors import UserError
from condense.runs.io import is_text
from condense.storage.registry import ENTRIES
from condense.storage.stored import StoredImages

FORMAT = "condensed-set-1"

SUM_TOLERANCE = 1e-4
"""Allowed deviation from 1 of the sum of a soft label in float32."""

PIXEL_TOLERANCE = 0.05
"""How far pixels may leave the range from 0 to 1."""

LARGEST_PIXEL = 16
"""Above this, images are not on the scale from 0 to 1, however they were learnt."""


class Fields(Protocol):
    """The fields of a set that `merged_fields` reads."""

    @property
    def images(self) -> Tensor:
        """Pixels [n, c, h, w]."""

    @property
    def labels(self) -> Tensor:
        """Hard or soft labels."""

    @property
    def hard_labels(self) -> Tensor:
        """The class of each image."""

    @property
    def targets(self) -> Tensor:
        """The labels for a loss."""

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel."""

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each label."""

    @property
    def distill_lrs(self) -> Tensor | None:
        """Learnt learning rates."""


def fields_of_file(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a set from the content of a file.

    Raises:
        ValueError, KeyError, TypeError, UserError: the content is invalid.
    """
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its metadata does not say format={FORMAT}")
    labels = tensors["labels"]
    names = tuple(json.loads(metadata["class_names"]))
    mean, std = (tuple(map(float, json.loads(metadata[key]))) for key in ("mean", "std"))
    provenance = json.loads(metadata["provenance"])
    stored = _stored(tensors, metadata)
    images = tensors["images"] if stored is None else stored.decode(mean, std)
    _check_images(images)
    _check_moments(mean, std, images.shape[1])
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names are not a list of names")
    for name in names:
        check_class_name(name)
    _check_labels(labels, len(images), len(names))
    lrs = tensors.get("distill_lrs")
    if lrs is not None:
        check_lrs(lrs, labels, len(names))
    if not is_text(json.dumps(provenance, ensure_ascii=False)):
        raise ValueError("provenance is not valid Unicode")
    if not isinstance(provenance, dict):
        raise ValueError("provenance is not an object")
    if metadata["normalised"] not in ("true", "false"):
        raise ValueError("normalised is neither true nor false")
    if metadata["normalised"] == "true":
        images = _denormalised(images, mean, std)
    return {
        "images": images,
        "labels": labels,
        "mean": mean,
        "std": std,
        "class_names": names,
        "provenance": provenance,
        "distill_lrs": lrs,
        "stored": stored,
    }


def fields_of_tensors(
    images: Any,
    labels: Any,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[str] | None = None,
    normalised: bool | None = None,
) -> dict[str, Any]:
    """The fields of a set from tensors or arrays, as in `CondensedSet.from_tensors`.

    Raises:
        UserError: they do not fit each other, or a normalisation is missing.
    """
    # Copies, because other code may go on to optimise its images.
    images, labels = as_floats(as_tensor(images, "images")), as_tensor(labels, "labels")
    labels = _as_probabilities(labels) if labels.is_floating_point() else labels.long()
    try:
        _check_images(images)
        mean, std = (None if value is None else _numbers(value) for value in (mean, std))
        if class_names is None:
            count = labels.shape[1] if labels.ndim == 2 else len(labels.unique())
            class_names = tuple(map(str, range(count)))
        _check_labels(labels, len(images), len(class_names))
        if normalised is None:
            normalised = looks_normalised(images, mean)
        if not normalised and images.max() > LARGEST_PIXEL:
            raise ValueError(f"pixels are from 0 to 1, but images have {images.max():.1f}")
        if mean is None or std is None:
            mean, std = _moments(images, normalised)
        _check_moments(mean, std, images.shape[1])
    except ValueError as problem:
        raise UserError(f"these tensors are no condensed set: {problem}") from None
    return {
        "images": _denormalised(images, mean, std) if normalised else images,
        "labels": labels,
        "mean": tuple(mean),
        "std": tuple(std),
        "class_names": tuple(class_names),
    }


def ordered_by_class(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a set with its images by class, where soft labels tell their classes.

    The place of an image with a soft label gives its class. Other code may have any order; it can
    be seen where each class is the most probable one of equally many images. Otherwise labels were
    learnt, and the order stays.
    """
    labels = fields["labels"]
    if labels.ndim == 1:
        return dict(fields)
    classes = labels.argmax(1)
    if labels.shape[1] * int(classes.bincount(minlength=labels.shape[1]).amax()) > len(labels):
        return dict(fields)
    order = classes.argsort(stable=True)
    return {**fields, "images": fields["images"][order], "labels": labels[order]}


def as_floats(images: Tensor) -> Tensor:
    """Images as float32; uint8 becomes 0 to 1."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def looks_normalised(images: Tensor, mean: Sequence[float] | None = None) -> bool:
    """Whether these are no pixels from 0 to 1.

    Pixels that were optimised without limits leave this range too, but their mean is nearer to
    that of the real images than to 0.

    Args:
        images: [n, c, h, w].
        mean: per channel, of the real images.
    """
    low, high = images.aminmax()
    if low >= -PIXEL_TOLERANCE and high <= 1 + PIXEL_TOLERANCE:
        return False
    return mean is None or float(images.mean()) < sum(mean) / len(mean) / 2


def merged_fields(sets: Sequence[Fields]) -> dict[str, Any]:
    """The fields of one set of the classes of all `sets`.

    Raises:
        UserError: two sets have a class in common, or image sizes or labels do not go together.
    """
    if not sets:
        raise UserError("there is no set to merge")
    names = [name for part in sets for name in part.class_names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"only sets of different classes can be merged; common: {listed(twice)}")
    if len({part.images.shape[1:] for part in sets}) > 1:
        raise UserError("only sets of images of one shape can be merged")
    if any(part.distill_lrs is not None for part in sets):
        raise UserError("sets with learnt learning rates cannot be merged: these belong to one set")
    try:
        orders = _orders(sets)
        labels = _merged_labels(sets, orders)
        images = torch.cat([part.images[rows] for part, rows in zip(sets, orders, strict=True)])
        _check_labels(labels, len(images), len(names))
    except ValueError as problem:
        raise UserError(f"these sets cannot be merged: {problem}") from None
    mean, std = _merged_moments(sets)
    return {
        "images": images,
        "labels": labels,
        "mean": mean,
        "std": std,
        "class_names": tuple(names),
    }


def _orders(sets: Sequence[Fields]) -> list[Tensor]:
    """Rows of each set. If any has soft labels, by class: the place of an image gives its class.

    Raises:
        ValueError: there are soft labels, and classes have different numbers of images.
    """
    if all(part.labels.ndim == 1 for part in sets):
        return [torch.arange(len(part.labels)) for part in sets]
    if torch.cat([part.hard_labels.bincount() for part in sets]).unique().numel() > 1:
        raise ValueError("with soft labels all classes must have the same number of images")
    return [part.hard_labels.argsort(stable=True) for part in sets]


def _merged_labels(sets: Sequence[Fields], orders: Sequence[Tensor]) -> Tensor:
    """Hard labels, counted on from set to set; soft ones, zero for the classes of other sets."""
    sizes = [len(part.class_names) for part in sets]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    if all(part.labels.ndim == 1 for part in sets):
        return torch.cat([part.labels + start for part, start in zip(sets, starts, strict=True)])
    blocks = []
    for part, rows, start, size in zip(sets, orders, starts, sizes, strict=True):
        block = torch.zeros(len(part.labels), sum(sizes))
        soft = part.targets if part.labels.ndim == 2 else torch.eye(size)[part.labels[rows]]
        block[:, start : start + size] = soft
        blocks.append(block)
    return torch.cat(blocks)


def _merged_moments(sets: Sequence[Fields]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of images of all classes, as many of each."""
    if len({(part.mean, part.std) for part in sets}) == 1:
        return sets[0].mean, sets[0].std
    weights = torch.tensor([len(part.class_names) for part in sets], dtype=torch.float64)
    weights = (weights / weights.sum())[:, None]
    means, stds = (
        torch.tensor([getattr(part, name) for part in sets], dtype=torch.float64)
        for name in ("mean", "std")
    )
    mean = (weights * means).sum(0)
    std = ((weights * (stds**2 + means**2)).sum(0) - mean**2).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _as_probabilities(labels: Tensor) -> Tensor:
    """Soft labels as rows of probabilities; others are logits (TESLA, DATM)."""
    labels = labels.float()
    sums = labels.sum(-1)
    if bool((labels >= 0).all()) and bool(((sums - 1).abs() <= SUM_TOLERANCE).all()):
        return labels
    return labels.softmax(-1)


def _numbers(values: Iterable[float]) -> list[float]:
    try:
        return list(map(float, values))
    except TypeError:
        raise ValueError("mean and std are not one number per channel") from None


def _moments(images: Tensor, normalised: bool) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of pixels; 1 for a constant channel."""
    if normalised:
        low, high = images.aminmax()
        raise UserError(
            f"images have values from {low:.2f} to {high:.2f}, so they are normalised: give the "
            "mean and std of their data set, or normalised=False"
        )
    std, mean = torch.std_mean(images.transpose(0, 1).flatten(1), dim=1, correction=0)
    return mean.tolist(), torch.where(std > 0, std, 1.0).tolist()


def _denormalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    scale, offset = (images.new_tensor(list(v))[:, None, None] for v in (std, mean))
    return images * scale + offset


def _check_images(images: Tensor) -> None:
    """Raise ValueError if these are not images."""
    if images.dtype != torch.float32 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, not float32 [n, c, h, w]"
        )
    if not images.numel():
        raise ValueError("images are empty")
    if not images.isfinite().all():
        raise ValueError("images hold NaN or infinite values")


def _check_moments(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    """Raise ValueError if this is no normalisation of images with so many channels."""
    if len(mean) != channels or len(std) != channels:
        raise ValueError("mean and std are not one number per channel")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError("mean and std are not finite, or std is not above 0")


def _stored(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StoredImages | None:
    """The stored images of a file, not checked yet; None if it has the images themselves."""
    if "storage" not in metadata:
        return None
    own = {name: tensors[name] for name in tensors if name not in ("labels", "distill_lrs")}
    return StoredImages(own, {name: metadata[name] for name in ENTRIES if name in metadata})


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
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
