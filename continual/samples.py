"""Labelled images as tensors, and their going to and from Avalanche's datasets."""

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
    """Labelled images with the task each belongs to."""

    images: Tensor
    """[n, c, h, w]: float32 where 0 is black and 1 is white (unclamped), or uint8."""
    labels: Tensor
    """int64 [n]."""
    tasks: Tensor
    """Task labels, int64 [n]."""
    mean: tuple[float, ...]
    """Per channel, on the scale from 0 to 1; what `inputs` subtracts."""
    std: tuple[float, ...]
    """Per channel; what `inputs` divides by."""
    size: tuple[int, int] | None = None
    """Height and width that `inputs` enlarges the images to; None leaves them as they are."""
    span: tuple[float, float] = (0.0, 1.0)
    """What 0 and 255 stand for in uint8 images."""
    answers: Tensor | None = None
    """A learner's scores of each image when it was remembered, float16 [n, classes so far]; not
    finite where it had none."""

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor | slice) -> Samples:
        """The samples at these positions."""
        return replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            tasks=self.tasks[indices],
            answers=None if self.answers is None else self.answers[indices],
        )

    def pixels(self) -> Tensor:
        """The images as they are kept, float32 where 0 is black and 1 is white."""
        if self.images.dtype != torch.uint8:
            return self.images
        lowest, highest = self.span
        return self.images / 255 * (highest - lowest) + lowest

    def inputs(self) -> Tensor:
        """What a network sees: normalised float32 [n, c, h, w]."""
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
            answers=None if self.answers is None else self.answers.to(device),
        )

    @property
    def bytes(self) -> int:
        """What the images and the answers take to store."""
        return self.images.nbytes + (0 if self.answers is None else self.answers.nbytes)


def join(parts: Sequence[Samples]) -> Samples:
    """The samples of all parts, which have their kind, normalisation and size in common."""
    answered = any(part.answers is not None for part in parts)
    classes = max(0 if part.answers is None else part.answers.shape[1] for part in parts)
    return replace(
        parts[0],
        images=torch.cat([part.images for part in parts]),
        labels=torch.cat([part.labels for part in parts]),
        tasks=torch.cat([part.tasks for part in parts]),
        answers=torch.cat([answers_of(part, classes) for part in parts]) if answered else None,
    )


def answers_of(samples: Samples, classes: int) -> Tensor:
    """Answers for so many classes, float16 [n, classes]; NaN where there is none."""
    answers = samples.answers
    if answers is None:
        answers = samples.images.new_empty((len(samples), 0), dtype=torch.float16)
    return F.pad(answers, (0, classes - answers.shape[1]), value=torch.nan)


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
    """An ordinary Avalanche dataset of (normalised image, label, task label)."""
    samples = samples.to(torch.device("cpu"))
    attributes = [
        DataAttribute(samples.labels.tolist(), "targets"),
        TaskLabels(samples.tasks.tolist()),
    ]
    return TaskAwareSupervisedClassificationDataset(
        [_ImageSet(samples)], data_attributes=attributes
    )


def read(dataset: Any) -> Samples:
    """Read anybody's dataset of (image tensor, label[, task label]) once, in order.

    The images are taken as the network's inputs: mean 0 and standard deviation 1.
    """
    loader = DataLoader(dataset, batch_size=512, collate_fn=getattr(dataset, "collate_fn", None))
    batches = [tuple(batch) for batch in loader]
    images, labels = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    tasks = torch.zeros_like(labels)
    if len(batches[0]) > 2:
        tasks = torch.cat([batch[-1] for batch in batches])
    channels = images.shape[1]
    return Samples(images.float(), labels, tasks, (0.0,) * channels, (1.0,) * channels)
