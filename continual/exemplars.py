"""Labelled images as tensors, and their conversion from and to Avalanche's datasets."""

from __future__ import annotations

from collections.abc import Sequence
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
from torch import Tensor
from torch.utils.data import DataLoader, Dataset


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
    size: tuple[int, int] | None = None
    """Height and width to which `inputs` resizes the images; None: no resizing."""
    value_range: tuple[float, float] = (0.0, 1.0)
    """Pixel values of the bytes 0 and 255 in uint8 images."""
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
        """The images in their stored size, float32 with 0 for black and 1 for white."""
        if self.images.dtype != torch.uint8:
            return self.images
        lowest, highest = self.value_range
        return self.images / 255 * (highest - lowest) + lowest

    def inputs(self) -> Tensor:
        """Inputs of a network: resized and normalised, float32 [n, c, h, w]."""
        mean, std = self.images.new_tensor([self.mean, self.std], dtype=torch.float32)
        pixels = self.pixels()
        if self.size not in (None, tuple(pixels.shape[2:])):
            pixels = F.interpolate(pixels, self.size, mode="bilinear", align_corners=False)
        normalised: Tensor = (pixels - mean[:, None, None]) / std[:, None, None]
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

    @property
    def bytes(self) -> int:
        """Bytes of the images and the logits."""
        return self.images.nbytes + (0 if self.logits is None else self.logits.nbytes)


def join(parts: Sequence[Samples]) -> Samples:
    """The samples of all parts; they must have the same dtype, normalisation and size."""
    with_logits = any(part.logits is not None for part in parts)
    classes = max(0 if part.logits is None else part.logits.shape[1] for part in parts)
    return replace(
        parts[0],
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        tasks=torch.cat([part.tasks for part in parts]),
        logits=torch.cat([padded_logits(part, classes) for part in parts]) if with_logits else None,
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


def as_dataset(samples: Samples) -> AvalancheDataset:
    """An Avalanche dataset of (normalised image, label, task label)."""
    samples = samples.to(torch.device("cpu"))
    attributes = [
        DataAttribute(samples.labels.tolist(), "targets"),
        TaskLabels(samples.tasks.tolist()),
    ]
    return TaskAwareSupervisedClassificationDataset(
        [_ImageSet(samples)], data_attributes=attributes
    )


def read(dataset: Any) -> Samples:
    """Read any dataset of (image tensor, label[, task label]) once, in order.

    The images are used as network inputs without change: mean 0 and standard deviation 1.
    """
    loader = DataLoader(dataset, batch_size=512, collate_fn=getattr(dataset, "collate_fn", None))
    batches = [tuple(batch) for batch in loader]
    images, labels = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    tasks = torch.zeros_like(labels)
    if len(batches[0]) > 2:
        tasks = torch.cat([batch[-1] for batch in batches])
    channels = images.shape[1]
    return Samples(images.float(), labels, tasks, (0.0,) * channels, (1.0,) * channels)
