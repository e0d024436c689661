"""Labelled images as tensors, and their conversion from and to Avalanche's datasets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
)
from avalanche.benchmarks.utils.classification_dataset import ClassificationDataset
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

from condense import UserError


@dataclass(frozen=True, eq=False)
class Samples:
    """Labelled images with task labels."""

    images: Tensor
    """[n, c, h, w]: float32 with 0 for black and 1 for white (unclamped), or uint8."""
    labels: Tensor
    """int64 [n]."""
    tasks: Tensor
    """Task labels, int64 [n]."""
    mean: tuple[float, ...]
    """Per channel, for pixels from 0 to 1; subtracted by `inputs`."""
    std: tuple[float, ...]
    """Per channel; the divisor in `inputs`."""
    logits: Tensor | None = None
    """Logits stored with the images, float16 [n, classes so far]; NaN or inf if missing."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor | slice) -> Samples:
        """The samples at these positions."""
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            tasks=self.tasks[indices],
            logits=None if self.logits is None else self.logits[indices],
        )

    def pixels(self) -> Tensor:
        """The images, float32 with 0 for black and 1 for white."""
        return _pixels(self.images)

    def inputs(self) -> Tensor:
        """Inputs of a network: normalised, float32 [n, c, h, w]."""
        mean, std = self.constants()
        return (self.pixels() - mean) / std

    def constants(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation as float32 [c, 1, 1], on the device of the images."""
        mean, std = self.images.new_tensor([self.mean, self.std], dtype=torch.float32)
        return mean[:, None, None], std[:, None, None]

    def to(self, device: torch.device) -> Samples:
        """The same samples on a device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            tasks=self.tasks.to(device),
            logits=None if self.logits is None else self.logits.to(device),
        )


def _pixels(images: Tensor) -> Tensor:
    return images / 255 if images.dtype == torch.uint8 else images


def padded_logits(samples: Samples, classes: int) -> Tensor:
    """Logits padded with NaN to this number of classes, float16 [n, classes]."""
    logits = samples.logits
    if logits is None:
        logits = samples.images.new_empty((len(samples), 0), dtype=torch.float16)
    return F.pad(logits, (0, classes - logits.shape[1]), value=torch.nan)


@dataclass(frozen=True)
class ItemFormat:
    """What the items of a dataset are like, so that exemplars can be in a batch with them."""

    task_labels: bool = True
    """Whether an item has a task label."""
    tensor_labels: bool = False
    """Whether its label is a tensor, not an int: a batch cannot have both."""
    dtype: torch.dtype = torch.float32
    """Of its image."""

    @staticmethod
    def of(dataset: Any) -> ItemFormat:
        """The format of (image tensor, label[, task label]).

        Raises:
            UserError: the items have other entries, which exemplars cannot have.
        """
        others = [name for name in _item_attributes(dataset) or () if name != TASK_LABELS]
        if others:
            raise UserError(
                f"the items of an experience also have {', '.join(others)}, which exemplars do "
                "not: make the attribute with use_in_getitem=False"
            )
        image, label = dataset[0][:2]
        dtype = image.dtype if isinstance(image, Tensor) else torch.float32
        return ItemFormat(_task_label_entry(dataset) is not None, isinstance(label, Tensor), dtype)


TASK_LABELS = "targets_task_labels"
"""Avalanche's name of the attribute."""


def _item_attributes(dataset: Any) -> list[str] | None:
    """Names of the entries of an item after image and label; None if it is not Avalanche's."""
    attributes = getattr(dataset, "_data_attributes", None)
    if attributes is None:
        return None
    return [name for name, attribute in attributes.items() if attribute.use_in_getitem]


def _task_label_entry(dataset: Any) -> int | None:
    """Which entry of an item is its task label; None if none is."""
    names = _item_attributes(dataset)
    if names is None:
        return 2 if len(dataset[0]) > 2 else None
    return 2 + names.index(TASK_LABELS) if TASK_LABELS in names else None


class _ImageSet(Dataset[tuple[Tensor, Tensor | int]]):
    """A map-style dataset of (normalised image, label)."""

    def __init__(self, samples: Samples, items: ItemFormat) -> None:
        self.images, self.labels, self.items = samples.images, samples.labels.tolist(), items
        # Made once: for each item this would take longer than the rest.
        self.mean, self.std = samples.constants()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor | int]:
        image = _as_type((_pixels(self.images[index]) - self.mean) / self.std, self.items.dtype)
        label = self.labels[index]
        return image, torch.tensor(label) if self.items.tensor_labels else label


def _as_type(image: Tensor, dtype: torch.dtype) -> Tensor:
    """The image in this dtype, rounded to its range if it is one of integers."""
    if dtype == torch.bool:
        return image >= 0.5
    if not dtype.is_floating_point:
        limits = torch.iinfo(dtype)
        image = image.round().clamp(limits.min, limits.max)
    return image.to(dtype)


def as_dataset(samples: Samples, items: ItemFormat | None = None) -> AvalancheDataset:
    """An Avalanche dataset of (normalised image, label[, task label][, logits]).

    Args:
        samples: the images.
        items: the format of the items; default: as in `make_benchmark`.

    Raises:
        UserError: some samples have logits of fewer classes than others.
    """
    samples, items = samples.to(torch.device("cpu")), items or ItemFormat()
    attributes: list[Any] = [DataAttribute(samples.labels.tolist(), "targets")]
    if items.task_labels:
        attributes.append(TaskLabels(_sequence(samples.tasks.tolist())))
    if samples.logits is not None:
        if not samples.logits.isfinite().all():
            raise UserError(
                "the stored logits have different numbers of classes: use a network with all "
                "outputs from the first experience on, or read `samples` instead of `buffer`"
            )
        logits = list(samples.logits.float())
        attributes.append(DataAttribute(logits, "logits", use_in_getitem=True))
    kind = TaskAwareSupervisedClassificationDataset if items.task_labels else ClassificationDataset
    return kind([_ImageSet(samples, items)], data_attributes=attributes)


class LazyBuffer:
    """Exemplars that are decoded when they are first read, as `buffer`.

    Avalanche's MIR reads `buffer_groups` anew for each class.
    """

    def __init__(self, make: Callable[[], AvalancheDataset]) -> None:
        self._make = make

    @cached_property
    def buffer(self) -> AvalancheDataset:
        """The exemplars."""
        return self._make()


def _sequence(values: list[int]) -> Any:
    """As Avalanche's benchmarks have task labels: only alike sequences can be concatenated."""
    return ConstantSequence(values[0], len(values)) if len({*values}) == 1 else values


def read(dataset: Any) -> Samples:
    """Read any dataset of (image tensor, label[, task label]) once, in order.

    Other entries of an item are not used. The images are used as network inputs without change:
    mean 0 and standard deviation 1.

    Raises:
        UserError: the dataset has other items, or images of different shapes.
    """
    items = [tuple(dataset[row]) for row in range(len(dataset))]
    if not items:
        raise UserError("an experience must have images, and this one has none")
    for image, *_ in items:
        if not isinstance(image, Tensor) or image.ndim != 3:
            raise UserError(
                "an experience must have items of (image tensor [c, h, w], label), not of "
                f"{_described(image)}"
            )
    shapes = {tuple(item[0].shape) for item in items}
    if len(shapes) > 1:
        raise UserError(f"the images of an experience must have one shape, not {sorted(shapes)}")
    images = torch.stack([item[0] for item in items]).float()
    labels = torch.tensor([int(item[1]) for item in items])
    entry = _task_label_entry(dataset)
    tasks = torch.tensor([0 if entry is None else int(item[entry]) for item in items])
    channels = images.shape[1]
    return Samples(images, labels, tasks, (0.0,) * channels, (1.0,) * channels)


def _described(image: Any) -> str:
    """What an item has instead of an image, and what helps."""
    if isinstance(image, Tensor):
        helps = ": add a dimension for the channel" if image.ndim == 2 else ""
        return f"a tensor {list(image.shape)}{helps}"
    converted = isinstance(image, np.ndarray | Image)  # by ToTensor, which refuses anything else
    helps = ": give its dataset the transform ToTensor, also for evaluation" if converted else ""
    return f"{type(image).__name__}{helps}"
