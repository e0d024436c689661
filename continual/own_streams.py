"""Streams of the user's own data sets: `a.npz,b_folder`, or parts of one: `own.npz:classes=2`.

The command line reads this module, so it imports torch only with the images.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from condense import UserError
from continual.settings import SPLIT_REPLAY, TWO_CLASS_LRS, StreamSpec

if TYPE_CHECKING:
    from condense import ImageData

PARTS = ":classes="


def is_own(name: str) -> bool:
    """Whether a stream is named by its data sets."""
    return "," in name or PARTS in name


def own_tasks(name: str, root: Path | None = None) -> list[ImageData]:
    """The tasks of a stream in their order, with one shape and the normalisation of the first.

    Args:
        name: data sets (names or paths, as for `condense.load`) separated by commas. Each may end
            with `:classes=K`: one task for each K classes, in the order of their labels.
        root: folder of the datasets, as for `condense.load`.

    Raises:
        UserError: a data set cannot be loaded, or K is not a number of its classes.
    """
    found = [task for part in name.split(",") for task in _tasks_of(part.strip(), root)]
    channels = max(task.shape[0] for task in found)
    if len({task.shape for task in found}) > 1:
        size = max(max(task.shape[1:]) for task in found)
        found = [task.resized(size, channels) for task in found]
    return [replace(task, mean=found[0].mean, std=found[0].std) for task in found]


def own_spec(name: str, tasks: list[ImageData] | None = None) -> StreamSpec:
    """Defaults for a stream of the user's data sets.

    The head is `domain` if all tasks have the same classes, else `class`.

    Args:
        name: as for `own_tasks`.
        tasks: its tasks; None: the head is that of tasks with the same classes.
    """
    same = tasks is None or len({task.class_names for task in tasks}) == 1
    if PARTS not in name:
        return StreamSpec((), head="domain" if same else "class")
    two = name.endswith(f"{PARTS}2")
    return StreamSpec((), head="class", replay=SPLIT_REPLAY, matching=TWO_CLASS_LRS if two else {})


def _tasks_of(part: str, root: Path | None) -> list[ImageData]:
    from condense import load

    dataset, split, count = part.partition(PARTS)
    if not dataset:
        raise UserError(f"a stream of your own is a.npz,b.npz or a.npz{PARTS}2, not {part!r}")
    data = load(dataset, root)
    if not split:
        return [data]
    if not (count.isdecimal() and 1 <= int(count) < data.classes):
        raise UserError(
            f"{part}: the number of classes of a task must be 1 to {data.classes - 1}, "
            f"{data.name} has {data.classes}"
        )
    starts = range(0, data.classes, int(count))
    parts = [range(first, min(first + int(count), data.classes)) for first in starts]
    return [
        replace(data.with_classes(labels), name=f"{data.name} {','.join(map(str, labels))}")
        for labels in parts
    ]
