"""The task streams, as Avalanche benchmarks whose experiences also carry their tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from avalanche.benchmarks import CLScenario, DatasetExperience, EagerCLStream
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline
from avalanche.benchmarks.scenarios.task_aware import with_task_labels

from condense import ImageData, UserError, unknown
from continual.samples import Samples, as_dataset, read
from continual.settings import Head


class ImageExperience(DatasetExperience):  # type: ignore[misc]
    """An experience that carries its tensors beside the usual dataset.

    Attributes:
        data: the images of the task, both splits, labels counted from zero.
        offset: what the stream adds to those labels.
        samples: this experience's split as tensors, with the stream's labels.
    """

    def __init__(self, data: ImageData, split: str, task: int, offset: int, number: int) -> None:
        self.data = data
        self.offset = offset
        images, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        tasks = torch.full_like(labels, task)
        self.samples = Samples(images, labels + offset, tasks, data.mean, data.std)
        super().__init__(dataset=as_dataset(self.samples), current_experience=number)


def make_stream(tasks: Sequence[ImageData], head: str = "domain") -> CLScenario:
    """A benchmark with an experience for each task; `train_stream` and `test_stream`.

    Args:
        tasks: of one image shape, in the order in which they are learnt.
        head: `domain`: the tasks share their labels, and the task label is 0 everywhere;
            `task`: they share their labels, and task labels tell them apart;
            `class`: each task's classes follow those of the task before it.

    Raises:
        UserError: for another head, or tasks of several image shapes.
    """
    if head not in get_args(Head):
        raise unknown("head", head, get_args(Head))
    if len({task.shape for task in tasks}) > 1:
        raise UserError("the tasks of a stream have one image shape: bring them to it by `resized`")
    streams = []
    for split in ("train", "test"):
        experiences, offset = [], 0
        for number, data in enumerate(tasks):
            task = number if head == "task" else 0
            experiences.append(ImageExperience(data, split, task, offset, number))
            offset += data.classes if head == "class" else 0
        streams.append(EagerCLStream(split, experiences))
    return with_classes_timeline(with_task_labels(CLScenario(streams)))


@dataclass(frozen=True)
class TaskImages:
    """What a buffer chooses from: the images of one task of an experience."""

    data: ImageData
    """Labels counted from zero; the test split is empty where nobody knows it."""
    classes: tuple[int, ...]
    """The stream's label of each class of `data`."""
    task: int
    """The task label."""


def images_of(
    experience: Any,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    mirror: bool = True,
) -> list[TaskImages]:
    """The training images of an experience, of this package's streams or anybody else's.

    Args:
        experience: one of `make_stream`, whose tensors are taken as they are, or any experience
            whose dataset gives (image tensor, label[, task label]).
        mean: per channel, what the dataset has been normalised with, where it has been; of no
            concern for an experience of `make_stream`.
        std: likewise.
        mirror: likewise whether a mirrored image still shows its class.

    Raises:
        UserError: where the images are not in the range from 0 to 1 after the normalisation has
            been undone.
    """
    if isinstance(experience, ImageExperience):
        data = experience.data
        classes = tuple(range(experience.offset, experience.offset + data.classes))
        return [TaskImages(data, classes, int(experience.samples.tasks[0]))]
    samples = read(experience.dataset.eval())
    mean, std = mean or samples.mean, std or samples.std
    return [
        _as_task(samples[(samples.tasks == task).nonzero()[:, 0]], task, mean, std, mirror)
        for task in samples.tasks.unique().tolist()
    ]


def _as_task(
    samples: Samples, task: int, mean: tuple[float, ...], std: tuple[float, ...], mirror: bool
) -> TaskImages:
    scale, shift = (torch.tensor(values)[:, None, None] for values in (std, mean))
    pixels = samples.images * scale + shift
    if pixels.min() < -0.01 or pixels.max() > 1.01:
        raise UserError(
            "the experience's images are not in the range from 0 to 1: give the buffer the mean "
            "and std that they are normalised with"
        )
    images = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    classes, labels = samples.labels.unique(return_inverse=True)
    names = tuple(str(label) for label in classes.tolist())
    none = images[:0], labels[:0]
    data = ImageData("experience", images, labels, *none, mean, std, names, mirror)
    return TaskImages(data, tuple(classes.tolist()), task)
