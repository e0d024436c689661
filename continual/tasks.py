"""The images of a stream's tasks, without Avalanche."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from condense import (
    DATASETS,
    Cache,
    Checkpointer,
    Fit,
    ImageData,
    UserError,
    load,
    load_or_embedded,
    unknown,
)
from condense.data.loading import from_anywhere
from condense.runs.paths import user_path
from condense.storage.registry import pixel_codec
from continual.own_streams import FORMS, PARTS, is_own
from continual.settings import EMBEDDED, REAL, STREAMS, StreamSpec


def load_tasks(
    name: str = "auto",
    root: Path | None = None,
    size: int | None = None,
    fit: Fit = "crop",
    hflip: bool = True,
    cache: Cache | None = None,
    progress: Checkpointer | None = None,
) -> tuple[str, list[ImageData]]:
    """The images of each task of a stream, with one shape and one normalisation.

    All tasks have the normalisation of the first task, since only its data are available at the
    start; a normalisation per task would reveal the task at test. If the tasks are classes of one
    dataset, it is that of the dataset, whose published constants are known in advance. Constants
    of the first classes only would make results hard to compare.

    Args:
        name: one of `STREAMS`; own data sets, as for `own_tasks`; or `auto`: svhn-mnist-usps, or,
            with a warning, synthdigits-mnist5k-digits if a dataset is not available.
        root: folder of the datasets, as for `condense.load`.
        size: side of the images; default: that of the stream.
        fit: how images get this size, as for `condense.load`.
        hflip: as for `condense.load`.
        cache: keeps the decoded images of folders, as for `condense.load`.
        progress: receives reports, as for `condense.load`.

    Returns:
        The name of the stream, without the folders of data sets, and its tasks.

    Raises:
        UserError: if the stream is unknown, or a dataset is not available.
    """
    if name == "auto":
        real, embedded = (
            [task.dataset for task in STREAMS[known].tasks] for known in (REAL, EMBEDDED)
        )
        sets = load_or_embedded(real, embedded, root, hflip=hflip)
        name = REAL if [data.name for data in sets] == real else EMBEDDED
    elif is_own(name):
        return short_name(name), own_tasks(name, root, size, fit, hflip, cache, progress)
    elif name in STREAMS:
        names = [task.dataset for task in STREAMS[name].tasks]
        loaded = {dataset: load(dataset, root, hflip=hflip) for dataset in dict.fromkeys(names)}
        sets = [loaded[dataset] for dataset in names]
    else:
        raise _no_stream(name)
    stream = STREAMS[name]
    return name, prepare(replace(stream, size=size or stream.size), sets)


def _no_stream(name: str) -> UserError:
    """What is wrong with the name of a stream."""
    _check_part(name)
    if Path(name).suffix or Path(name).exists():
        return UserError(
            f"one data set is no stream: give {name}{PARTS}2 for tasks of two classes, or several "
            "data sets with commas between them"
        )
    return UserError(f"{unknown('stream', name, ['auto', *STREAMS])}; or {FORMS}")


def prepare(stream: StreamSpec, sets: Sequence[ImageData]) -> list[ImageData]:
    """Make tasks from the datasets: select classes, resize, set one normalisation."""
    tasks = [
        _selected(data, task.classes).resized(stream.size, stream.channels)
        for task, data in zip(stream.tasks, sets, strict=True)
    ]
    return normalised_alike(tasks)


def own_tasks(
    name: str,
    root: Path | None = None,
    size: int | None = None,
    fit: Fit = "crop",
    hflip: bool = True,
    cache: Cache | None = None,
    progress: Checkpointer | None = None,
) -> list[ImageData]:
    """The tasks of a stream in their order, with one shape and the normalisation of the first.

    Args:
        name: data sets (names or paths, as for `condense.load`) separated by commas. Each may end
            with `:classes=K`: one task for each K classes, in the order of their labels.
        root: folder of the datasets, as for `condense.load`.
        size: side of the images; default: the largest of the data sets.
        fit: how images get this size, as for `condense.load`.
        hflip: as for `condense.load`.
        cache: as for `load_tasks`.
        progress: as for `load_tasks`.

    Raises:
        UserError: a data set cannot be loaded, or K is not a number of its classes.
    """
    reading: Any = {"root": root, "size": size, "fit": fit, "hflip": hflip}
    load_part = partial(load, **reading, cache=cache, progress=progress)
    found = [task for part in _parts(name) for task in _tasks_of(part, load_part)]
    channels = max(task.shape[0] for task in found)
    if len({task.shape for task in found}) > 1:
        size = max(max(task.shape[1:]) for task in found)
        found = [task.squared(size, fit).resized(size, channels) for task in found]
    return normalised_alike(found)


def found_again(given: str, name: str) -> str:
    """`--stream` for a resumed run, in any folder: a name, or data sets with absolute paths.

    Args:
        given: as for `load_tasks`.
        name: what it returned.
    """
    return _with_datasets(given, from_anywhere) if is_own(given) else name


def short_name(name: str) -> str:
    """The name of an own stream without the folders in which its data sets are."""
    return _with_datasets(name, lambda dataset: Path(dataset).name)


def _with_datasets(name: str, change: Callable[[str], str]) -> str:
    parts = (part.partition(PARTS) for part in _parts(name))
    return ",".join(f"{change(dataset)}{split}{count}" for dataset, split, count in parts)


def _parts(name: str) -> list[str]:
    return [part.strip() for part in name.split(",")]


def augmentation(tasks: Sequence[ImageData]) -> tuple[str, ...]:
    """EEIL's augmentation operations; flip only if flipped images of all tasks keep their class."""
    return ("color", "crop", "flip") if all(data.hflip for data in tasks) else ("color", "crop")


def small_shape(data: ImageData, factor: int) -> tuple[int, int, int]:
    """Channels, height and width of an image after division of the sides by the factor.

    Raises:
        UserError: if a side would be 0.
    """
    codec = pixel_codec("pixels", data.shape, data.mean, data.std, factor)
    return data.shape[0], *codec.size


def _selected(data: ImageData, classes: Sequence[int] | None) -> ImageData:
    """Some classes of a dataset; their labels are added to its name."""
    if classes is None:
        return data
    selected = data.with_classes(classes)
    if not len(selected.x_test):
        raise UserError(f"{data.name}: classes {list(classes)} have no images to test with")
    return replace(selected, name=f"{data.name} {_labels(classes)}")


def _labels(classes: Sequence[int]) -> str:
    """The labels in their order; three or more consecutive ones as a range: `0-9`."""
    first, last = classes[0], classes[-1]
    if len(classes) > 2 and list(classes) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ",".join(map(str, classes))


def normalised_alike(tasks: Sequence[ImageData]) -> list[ImageData]:
    """All tasks with the normalisation of the first."""
    return [replace(data, mean=tasks[0].mean, std=tasks[0].std) for data in tasks]


def _tasks_of(part: str, load_part: Callable[[str], ImageData]) -> list[ImageData]:
    dataset, split, count = part.partition(PARTS)
    if not dataset:
        raise UserError(f"a stream of your own is a.npz,b.npz or a.npz{PARTS}2, not {part!r}")
    _check_part(dataset)
    data = load_part(dataset)
    if not split:
        return [data]
    if not (count.isdecimal() and 1 <= int(count) < data.classes):
        raise UserError(
            f"{part}: the number of classes of a task must be 1 to {data.classes - 1}, "
            f"{data.name} has {data.classes}"
        )
    starts = range(0, data.classes, int(count))
    parts = [range(first, min(first + int(count), data.classes)) for first in starts]
    return [_selected(data, labels) for labels in parts]


def _check_part(dataset: str) -> None:
    """Check that nothing but `:classes=N`, which is not in `dataset`, follows the data set.

    A path may have colons itself, such as that of a drive.

    Raises:
        UserError: a data set is followed by a colon and a word, or a name by one like `size=2`.
    """
    name, _, part = dataset.rpartition(":")
    if not name or re.search(r"[/\\]", part):
        return
    whole, found = (user_path(path, "--stream").exists() for path in (dataset, name))
    is_setting = re.fullmatch(r"\s*\w+\s*=\s*\w*\s*", part)
    if not whole and (found or name in DATASETS or is_setting):
        raise UserError(f"unknown part {part!r} of {dataset}: give {name}{PARTS}N")
