"""Labelled images as tensors, and their conversion from and to Avalanche's datasets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
)
from avalanche.benchmarks.utils.classification_dataset import ClassificationDataset
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
        return self.images / 255 if self.images.dtype == torch.uint8 else self.images

    def inputs(self) -> Tensor:
        """Inputs of a network: normalised, float32 [n, c, h, w]."""
        mean, std = self.images.new_tensor([self.mean, self.std], dtype=torch.float32)
        normalised: Tensor = (self.pixels() - mean[:, None, None]) / std[:, None, None]
        return normalised

    def to(self, device: torch.device) -> Samples:
        """The same samples on a device."""
        return replace(
            self,
            images=self.images.to(device),
            labels=self.labels.to(device),
            tasks=self.tasks.to(device),
            logits=None if self.logits is None else self.logits.to(device),
        )


def padded_logits(samples: Samples, classes: int) -> Tensor:
    """Logits padded with NaN to this number of classes, float16 [n, classes]."""
    logits = samples.logits
    if logits is None:
        logits = samples.images.new_empty((len(samples), 0), dtype=torch.float16)
    return F.pad(logits, (0, classes - logits.shape[1]), value=torch.nan)


class _ImageSet(Dataset[tuple[Tensor, int]]):
    """A map-style dataset of (normalised image, label)."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        sample = self.samples[torch.tensor([index])]
        return sample.inputs()[0], int(sample.labels)


def as_dataset(samples: Samples, task_labels: bool = True) -> AvalancheDataset:
    """An Avalanche dataset of (normalised image, label[, task label][, logits]).

    Args:
        samples: the images.
        task_labels: whether the items have task labels.

    Raises:
        UserError: some samples have logits of fewer classes than others.
    """
    samples = samples.to(torch.device("cpu"))
    attributes: list[Any] = [DataAttribute(samples.labels.tolist(), "targets")]
    if task_labels:
        attributes.append(TaskLabels(samples.tasks.tolist()))
    if samples.logits is not None:
        if not samples.logits.isfinite().all():
            raise UserError(
                "the stored logits have different numbers of classes: use a network with all "
                "outputs from the first experience on, or EEIL"
            )
        logits = list(samples.logits.float())
        attributes.append(DataAttribute(logits, "logits", use_in_getitem=True))
    kind = TaskAwareSupervisedClassificationDataset if task_labels else ClassificationDataset
    return kind([_ImageSet(samples)], data_attributes=attributes)


def read(dataset: Any) -> Samples:
    """Read any dataset of (image tensor, label[, task label]) once, in order.

    The images are used as network inputs without change: mean 0 and standard deviation 1.

    Raises:
        UserError: the dataset has other items, or images of different shapes.
    """
    items = [tuple(item)[:3] for item in (dataset[row] for row in range(len(dataset)))]
    if not items or not all(isinstance(item[0], Tensor) and item[0].ndim == 3 for item in items):
        raise UserError(
            "an experience must have items of (image tensor [c, h, w], label): give its dataset "
            "the transform ToTensor"
        )
    shapes = {tuple(item[0].shape) for item in items}
    if len(shapes) > 1:
        raise UserError(f"the images of an experience must have one shape, not {sorted(shapes)}")
    images = torch.stack([item[0] for item in items]).float()
    labels = torch.tensor([int(item[1]) for item in items])
    tasks = torch.tensor([int(item[2]) if len(item) > 2 else 0 for item in items])
    channels = images.shape[1]
    return Samples(images, labels, tasks, (0.0,) * channels, (1.0,) * channels)
