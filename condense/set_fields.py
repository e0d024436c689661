"""The fields of a condensed set: from a file, from tensors of other code, of several sets."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from condense.data.datasets import as_tensor
from condense.data.labels import listed
from condense.errors import UserError
from condense.runs.io import is_text, plain
from condense.set_checks import (
    SUM_TOLERANCE,
    check_fields,
    check_images,
    check_labels,
    check_moments,
    check_names,
)
from condense.storage.registry import ENTRIES
from condense.storage.stored import StoredImages
from condense.system.notes import note

FORMAT = "condensed-set-1"

ROUNDED_TOLERANCE = 0.02
"""Deviation from 1 of the sum of probabilities that were rounded, or kept in half precision."""
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
    provenance = provenance_of(metadata["provenance"])
    stored = _stored(tensors, metadata)
    images = tensors["images"] if stored is None else stored.decode(mean, std)
    lrs = tensors.get("distill_lrs")
    check_fields(images, labels, mean, std, names, lrs)
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


def provenance_of(text: str) -> dict[str, Any]:
    """The provenance in a file, as JSON.

    Raises:
        ValueError, TypeError: it is no object, or not valid Unicode.
    """
    provenance = json.loads(text)
    if not is_text(json.dumps(provenance, ensure_ascii=False)):
        raise ValueError("provenance is not valid Unicode")
    if not isinstance(provenance, dict):
        raise ValueError("provenance is not an object")
    return provenance


def plain_provenance(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance as JSON types.

    Raises:
        UserError: an entry is of a type that has no place in JSON.
    """
    try:
        return dict(plain(provenance))
    except TypeError as problem:
        raise UserError(f"provenance: {problem}") from None


def fields_of_tensors(
    images: Any,
    labels: Any,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    class_names: Sequence[object] | None = None,
    normalised: bool | None = None,
    largest: float = LARGEST_PIXEL,
) -> dict[str, Any]:
    """The fields of a set from tensors or arrays, as in `CondensedSet.from_tensors`.

    Images with pixels above `largest` are refused: they may be normalised, or from 0 to 255. Prints
    a note if `normalised` is None and images are taken as normalised.

    Raises:
        UserError: they do not fit each other, or a normalisation is missing.
    """
    # Copies, because other code may go on to optimise its images.
    images, labels = as_floats(as_tensor(images, "images")), as_tensor(labels, "labels")
    labels = _as_labels(labels)
    try:
        check_images(images)
        mean, std = (None if value is None else _numbers(value) for value in (mean, std))
        if class_names is None:
            count = labels.shape[1] if labels.ndim == 2 else len(labels.unique())
            class_names = range(count)
        class_names = tuple(map(str, class_names))
        check_names(class_names)
        check_labels(labels, len(images), len(class_names))
        if normalised is None:
            normalised = looks_normalised(images, mean)
            if normalised and mean is not None and std is not None:
                note(
                    f"images have {_range(images)}, so they are read as normalised with mean and "
                    "std; if they are pixels, give normalised=False"
                )
        if not normalised and images.max() > largest:
            raise ValueError(f"pixels are from 0 to 1, but images have {images.max():.1f}")
        if mean is None or std is None:
            mean, std = _moments(images, normalised)
        check_moments(mean, std, images.shape[1])
    except ValueError as problem:
        raise UserError(f"these tensors are no condensed set: {problem}") from None
    return {
        "images": _denormalised(images, mean, std) if normalised else images,
        "labels": labels,
        "mean": tuple(mean),
        "std": tuple(std),
        "class_names": class_names,
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
    """Images as float32; uint8 becomes 0 to 1, and so do other integers above 1."""
    whole = not (images.is_floating_point() or images.dtype == torch.bool)
    of_255 = images.dtype == torch.uint8 or (whole and bool((images > 1).any()))
    return images.float() / 255 if of_255 else images.float()


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
        check_labels(labels, len(images), len(names))
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


def _as_labels(labels: Tensor) -> Tensor:
    """Labels in the types of a set: numbers, or rows of soft labels such as one-hot vectors."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 1:
        whole = not labels.is_floating_point() or labels.equal(labels.round())
        return labels.long() if whole else labels
    if labels.is_floating_point():
        return _as_probabilities(labels)
    return labels if labels.dtype == torch.uint8 else labels.float()


def _as_probabilities(labels: Tensor) -> Tensor:
    """Soft labels as rows of probabilities; others are logits (TESLA, DATM)."""
    labels = labels.float()
    sums = labels.sum(-1, keepdim=True)
    furthest = float((sums - 1).abs().max()) if bool((labels >= 0).all()) else math.inf
    if furthest <= SUM_TOLERANCE:
        return labels
    if furthest <= ROUNDED_TOLERANCE:
        return labels / sums
    note("the rows of labels are no probabilities, so they are read as logits")
    return labels.softmax(-1)


def _numbers(values: Iterable[float]) -> list[float]:
    try:
        return list(map(float, values))
    except TypeError:
        raise ValueError("mean and std are not one number per channel") from None


def _moments(images: Tensor, normalised: bool) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel of pixels; 1 for a constant channel."""
    if normalised:
        raise UserError(
            f"images have {_range(images)}, so they are normalised: give the mean and std of their "
            "data set, or normalised=False"
        )
    std, mean = torch.std_mean(images.transpose(0, 1).flatten(1), dim=1, correction=0)
    return mean.tolist(), torch.where(std > 0, std, 1.0).tolist()


def _range(images: Tensor) -> str:
    low, high = images.aminmax()
    return f"values from {low:.2f} to {high:.2f}"


def _denormalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    scale, offset = (images.new_tensor(list(v))[:, None, None] for v in (std, mean))
    return images * scale + offset


def _stored(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StoredImages | None:
    """The stored images of a file, not checked yet; None if it has the images themselves."""
    if "storage" not in metadata:
        return None
    own = {name: tensors[name] for name in tensors if name not in ("labels", "distill_lrs")}
    return StoredImages(own, {name: metadata[name] for name in ENTRIES if name in metadata})
