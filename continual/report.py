"""Results on a stream: stage averages, forgetting, a table and two figures.

An accuracy matrix has one row per stage and one column per task. Accuracies are from 0 to 1, or
None if the heads cannot be tested, as on a task that has no head yet.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from condense.runs.plots import as_text, new_figure, save
from condense.runs.report import per_cent, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Sequence[float | None]
Matrix = Sequence[Row]

_LARGEST_SIDE = 16
"""Of a figure, in inches. Without a limit, that of 200 tasks took 11 GB of memory."""
_MOST_LABELS = 25
"""Of an axis. With more tasks not each is named, and a matrix has no numbers in its cells."""
_CHARACTER = 0.1
"""Width of a character of a label in inches, with some space between labels."""


def stage_averages(matrix: Matrix) -> list[float]:
    """After each stage t, the accuracy averaged over tasks 1 to t (the paper's Figure 3)."""
    return [statistics.fmean(_known(row[: stage + 1])) for stage, row in enumerate(matrix)]


def forgetting(matrix: Matrix) -> float:
    """Mean drop in accuracy of all tasks but the last, since the end of their own stage.

    The same value as Avalanche's `StreamForgetting` in an uninterrupted run. 0 for one task.
    """
    learnt = _known([row[task] for task, row in enumerate(matrix)])
    fallen = [then - now for then, now in zip(learnt, _known(matrix[-1]), strict=True)]
    return statistics.fmean(fallen[:-1] or [0.0])


def mean_and_std(values: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation (n − 1) of each column; the latter is 0 for one row."""
    columns = list(zip(*values, strict=True))
    spread = [statistics.stdev(column) if len(column) > 1 else 0.0 for column in columns]
    return [statistics.fmean(column) for column in columns], spread


def mean_matrix(matrices: Sequence[Matrix]) -> list[list[float | None]]:
    """Elementwise mean of matrices; None if any entry is None."""
    return [
        [
            None if None in entries else statistics.fmean(_known(entries))
            for entries in zip(*rows, strict=True)
        ]
        for rows in zip(*matrices, strict=True)
    ]


def short_names(tasks: Sequence[str]) -> list[str]:
    """Task names without the dataset's name if all share it: `cifar10 0,1` becomes `0,1`."""
    first = {name.partition(" ")[0] for name in tasks}
    rests = [name.partition(" ")[2] for name in tasks]
    return rests if len(first) == 1 and all(rests) else list(tasks)


def table(tasks: Sequence[str], mean: Sequence[float], std: Sequence[float] | None = None) -> str:
    """Table of the stage averages in percent, one column per stage; one seed has no `std`."""
    heads = [f"T{stage + 1} (+ {task})" for stage, task in enumerate(tasks)]
    cells = [per_cent(value) for value in mean] if std is None else [*map(per_cent, mean, std)]
    return text_table([heads, cells])


def plot_matrix(path: Path, tasks: Sequence[str], matrix: Matrix) -> None:
    """Plot the accuracy matrix to a PNG file."""
    count = len(tasks)
    figure = new_figure(min(1.6 + count, _LARGEST_SIDE), min(1.2 + 0.8 * count, _LARGEST_SIDE))
    axes = figure.add_subplot()
    axes.imshow(
        [[float("nan") if value is None else value for value in row] for row in matrix],
        vmin=0,
        vmax=1,
        cmap="viridis",
    )
    named = _named(count)
    _label_tasks(axes, tasks)
    axes.set_yticks(named, [f"T{stage + 1}" for stage in named])
    axes.set_xlabel("tested on")
    axes.set_ylabel("after task")
    if count <= _MOST_LABELS:
        _write_cells(axes, matrix)
    save(figure, path)


def _write_cells(axes: Axes, matrix: Matrix) -> None:
    """Write the accuracies in percent into the cells of the plotted matrix."""
    for stage, row in enumerate(matrix):
        for task, value in enumerate(row):
            if value is not None:
                colour = "white" if value < 0.6 else "black"
                axes.text(task, stage, f"{100 * value:.1f}", ha="center", va="center", c=colour)


def _named(count: int) -> range:
    """The tasks that have a label on an axis: all, or each k-th if they are many."""
    return range(0, count, math.ceil(count / _MOST_LABELS))


def _label_tasks(axes: Axes, labels: Sequence[str], first: int = 0) -> None:
    """Label the tasks on the horizontal axis, at an angle if the labels would overlap.

    Args:
        axes: the axes.
        labels: one per task; each may have several lines.
        first: where the first task is.
    """
    named = _named(len(labels))
    space = axes.figure.bbox.width / axes.figure.dpi / len(named)
    longest = max(len(line) for task in named for line in labels[task].splitlines())
    axes.set_xticks([first + task for task in named], [as_text(labels[task]) for task in named])
    if longest * _CHARACTER > space:
        axes.tick_params("x", labelrotation=30)
        for label in axes.get_xticklabels():
            label.set(horizontalalignment="right", rotation_mode="anchor")


def plot_stages(
    path: Path, tasks: Sequence[str], mean: Sequence[float], std: Sequence[float], label: str
) -> None:
    """Plot the average over the tasks so far after each stage to a PNG file."""
    figure = new_figure(min(max(4.5, 1 + 0.7 * len(tasks)), _LARGEST_SIDE), 3.2)
    axes = figure.add_subplot()
    stages = range(1, len(tasks) + 1)
    axes.errorbar(
        stages,
        [100 * value for value in mean],
        [100 * value for value in std],
        marker="o",
        capsize=3,
        label=as_text(label),
    )
    _label_tasks(axes, [f"T{stage}\n+ {tasks[stage - 1]}" for stage in stages], first=1)
    axes.set_ylabel("accuracy over the tasks so far (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    save(figure, path)


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]
