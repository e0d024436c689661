"""The task streams as Avalanche benchmarks whose experiences also have tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import torch
from avalanche.benchmarks import CLScenario, DatasetExperience, EagerCLStream
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline
from avalanche.benchmarks.scenarios.task_aware import with_task_labels

from condense import ImageData, UserError, unknown
from condense.methods.selection import large_classes
from continual.exemplars import ItemFormat, Samples, as_dataset, read
from continual.settings import Head
from continual.tasks import normalised_alike

CLASS_LISTS = (
    "classes_in_this_experience",
    "previous_classes",
    "classes_seen_so_far",
    "future_classes",
)
"""Attributes of an experience that Avalanche's `with_classes_timeline` makes as sets."""


class ImageExperience(DatasetExperience):  # type: ignore[misc]
    """An experience with tensors in addition to the usual dataset.

    Attributes:
        data: images of the task, both splits, with labels from 0.
        offset: added to these labels in the stream.
        samples: the split of this experience as tensors, with the labels of the stream.
    """

    def __init__(self, data: ImageData, split: str, task: int, offset: int, number: int) -> None:
        self.data = data
        self.offset = offset
        images, labels = getattr(data, f"x_{split}"), getattr(data, f"y_{split}")
        tasks = torch.full_like(labels, task)
        self.samples = Samples(images, labels + offset, tasks, data.mean, data.std)
        super().__init__(dataset=as_dataset(self.samples), current_experience=number)


def make_benchmark(tasks: Sequence[ImageData], head: str = "domain") -> CLScenario:
    """A benchmark with one experience per task, in `train_stream` and `test_stream`.

    Args:
        tasks: tasks in training order, with the same image shape. All get the normalisation of the
            first, because one network is trained on all.
        head: `domain`: the tasks share labels, and all task labels are 0;
            `task`: the tasks share labels, and each has its own task label;
            `class`: the labels of each task follow those of the previous task.

    >>> from condense import load
    >>> from continual import make_benchmark
    >>> digits = load("digits")
    >>> tasks = [digits.with_classes([0, 1]), digits.with_classes([2, 3])]
    >>> benchmark = make_benchmark(tasks, "class")
    >>> [experience.classes_in_this_experience for experience in benchmark.train_stream]
    [[0, 1], [2, 3]]

    Raises:
        UserError: if the head is unknown, or the image shapes differ.
    """
    if head not in get_args(Head):
        raise unknown("head", head, get_args(Head))
    if len({task.shape for task in tasks}) > 1:
        raise UserError("all tasks of a stream must have the same image shape: use `resized`")
    tasks = normalised_alike(tasks)
    streams = []
    for split in ("train", "test"):
        experiences, offset = [], 0
        for number, data in enumerate(tasks):
            task = number if head == "task" else 0
            experiences.append(ImageExperience(data, split, task, offset, number))
            offset += data.classes if head == "class" else 0
        streams.append(EagerCLStream(split, experiences))
    benchmark = with_classes_timeline(with_task_labels(CLScenario(streams)))
    for experience in (one for stream in benchmark.streams.values() for one in stream):
        # Lists, as in Avalanche's other benchmarks: a masked head indexes with them.
        for name in CLASS_LISTS:
            setattr(experience, name, sorted(getattr(experience, name)))
    return benchmark


def classes_of(experience: Any) -> list[int]:
    """The classes of an experience of any classification benchmark, ascending."""
    known = getattr(experience, "classes_in_this_experience", None)
    return sorted(set(map(int, experience.dataset.targets if known is None else known)))


def task_labels_of(experience: Any) -> list[int]:
    """The task labels of an experience of any benchmark; 0 if there are none."""
    known = getattr(experience, "task_labels", None)
    if known is None:
        known = getattr(experience.dataset, "targets_task_labels", [0])
    return sorted(set(map(int, known)))


def items_of(experience: Any) -> ItemFormat:
    """The format of the items, read with the transform for evaluation, which draws nothing.

    Raises:
        UserError: as `ItemFormat.of`.
    """
    if isinstance(experience, ImageExperience):
        return ItemFormat()
    return ItemFormat.of(experience.dataset.eval())


@dataclass(frozen=True)
class TaskImages:
    """Images of one task of an experience, the input of a buffer."""

    data: ImageData
    """Labels from 0; the test split is empty for experiences of other benchmarks."""
    classes: tuple[int, ...]
    """Label in the stream of each class of `data`."""
    task: int
    """The task label."""


def images_of(
    experience: Any,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    hflip: bool = True,
) -> list[TaskImages]:
    """The training images of an experience of this package or any other benchmark.

    Args:
        experience: an experience of `make_benchmark`, whose tensors are used directly, or any
            experience whose dataset gives (image tensor, label[, task label]).
        mean: per channel, the mean of the dataset's normalisation; None without normalisation.
            Not used for experiences of `make_benchmark`.
        std: as `mean`.
        hflip: whether a flipped image keeps its class; used as `mean`.

    Raises:
        UserError: if pixels are outside 0 to 1 after the normalisation is inverted, or it has not
            one number per channel.
    """
    if isinstance(experience, ImageExperience):
        data, present = experience.data, large_classes(experience.data, 1)
        if len(present) < data.classes:
            data = data.with_classes(present)
        classes = tuple(experience.offset + label for label in present)
        return [TaskImages(data, classes, int(experience.samples.tasks[0]))]
    samples = read(experience.dataset.eval())
    channels = samples.images.shape[1]
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise UserError(
                f"the buffer's {name} has {len(values)} numbers, the images have {channels} "
                f"channel{'s' if channels > 1 else ''}"
            )
    mean, std = mean or samples.mean, std or samples.std
    return [
        _as_task(samples[(samples.tasks == task).nonzero()[:, 0]], task, mean, std, hflip)
        for task in samples.tasks.unique().tolist()
    ]


def _as_task(
    samples: Samples, task: int, mean: tuple[float, ...], std: tuple[float, ...], hflip: bool
) -> TaskImages:
    scale, shift = (torch.tensor(values)[:, None, None] for values in (std, mean))
    pixels = samples.images * scale + shift
    if not (pixels.min() >= -0.01 and pixels.max() <= 1.01):  # NaN is outside
        raise UserError(
            "the experience's images are not in the range from 0 to 1 but from "
            f"{pixels.min():.3g} to {pixels.max():.3g}: give the buffer the mean and std that they "
            "are normalised with (of bytes: 0 and 1/255 for each channel)"
        )
    images = (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
    classes, labels = samples.labels.unique(return_inverse=True)
    names = tuple(str(label) for label in classes.tolist())
    none = images[:0], labels[:0]
    data = ImageData("experience", images, labels, *none, mean, std, names, hflip)
    return TaskImages(data, tuple(classes.tolist()), task)
