"""Accuracy over time and over bytes of condensed sets of CIFAR-10, beside published results.

Reads the rows of `benchmarks.paper.frontier`, which draws this figure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Row, numbers
from condense.runs.plots import new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DATASET = "cifar10"
IMAGE_BYTES = 3 * 32 * 32
CLASSES = 10
PUBLISHED: dict[str, dict[int, float]] = {
    "DSA": {1: 28.8, 10: 52.1, 50: 60.6},
    "IDC": {10: 67.5},
    "FRePo": {10: 65.5},
    "MTT": {10: 65.3},
    "NCFM": {1: 49.5, 10: 71.8, 50: 77.4},
}
"""Test accuracy (%) on CIFAR-10 by images per class, of ConvNets of width 128, on GPUs.

Zhao & Bilen 2021; Kim et al. 2022 (factor 2); Zhou et al. 2022 and Wang et al. 2025 (soft labels,
whose bytes are not counted here); Cazenavette et al. 2022.
"""
COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#f0e442"),
    "#999999",
)
"""Of Okabe & Ito, distinguishable by the colour-blind, and grey."""


@dataclass(frozen=True)
class Point:
    """A recipe at one size, tested by networks of one width."""

    recipe: str
    ipc: int
    labels: str
    width: int
    seconds: float
    """Of one processor, at least 0.1: the axis is logarithmic."""
    kilobytes: float
    accuracy: float
    """In per cent, averaged over sets and networks."""


def points(rows: Sequence[Row]) -> list[Point]:
    """The points of the rows of the test split."""
    groups: dict[tuple[str, int, str, int, int, str], list[Row]] = {}
    for row in rows:
        if (row["dataset"], row["tested_on"]) == (DATASET, "test"):
            key = (row["recipe"], int(row["ipc"]), row["labels"], int(row["width"]))
            groups.setdefault((*key, *training(row)), []).append(row)
    return [
        Point(
            *key[:4],
            max(0.1, fmean(float(row["cpu_seconds"]) for row in group)),
            fmean(float(row["bytes"]) for row in group) / 1000,
            fmean(value for row in group for value in numbers(row["accuracies"])),
        )
        for key, group in groups.items()
    ]


def training(row: Row) -> tuple[int, str]:
    """Steps and precision of the tested networks."""
    evaluation = json.loads(row["evaluation"])
    return evaluation["steps"], evaluation["network"]["precision"]


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the figure, if there are results of CIFAR-10."""
    found = points(rows)
    if not found:
        return
    figure = new_figure(10.5, 4.6)
    time, size = figure.subplots(1, 2, sharey=True)
    recipes = sorted({point.recipe for point in found})
    colours = dict(zip(recipes, COLOURS * len(recipes), strict=False))
    ten = [point for point in found if point.ipc == 10]
    _scatter(time, ((point, point.seconds) for point in ten), colours)
    _scatter(size, ((point, point.kilobytes) for point in found), colours)
    for name, accuracies in PUBLISHED.items():
        _published(time, size, name, accuracies)
    time.set_title("bytes of 10 whole images per class", fontsize=9)
    time.set_xlabel("seconds of one CPU core to make the set")
    size.set_title("all sizes", fontsize=9)
    size.set_xlabel("size of the set (kB)")
    time.set_ylabel("test accuracy on CIFAR-10 (%)")
    for axes in (time, size):
        axes.set_xscale("log")
        axes.grid(alpha=0.3)
    size.set_xlim(20, 3000)
    _legend(size, colours)
    save(figure, path, {"points": [vars(point) for point in found], "published": PUBLISHED})


def _published(time: Axes, size: Axes, name: str, accuracies: dict[int, float]) -> None:
    heights = list(accuracies.values())
    kilobytes = [ipc * IMAGE_BYTES * CLASSES / 1000 for ipc in accuracies]
    below = name == "MTT"  # FRePo is just above it
    style: dict[str, Any] = {"color": "0.4", "fontsize": 7, "va": "top" if below else "bottom"}
    size.plot(kilobytes, heights, "x:", color="0.5", linewidth=0.8)
    size.annotate(name, (kilobytes[-1] * 1.05, heights[-1]), **style)
    time.axhline(accuracies[10], color="0.7", linewidth=0.8, linestyle=":")
    time.annotate(
        name, (1, accuracies[10]), xycoords=("axes fraction", "data"), ha="right", **style
    )


def _scatter(axes: Axes, placed: Iterator[tuple[Point, float]], colours: dict[str, str]) -> None:
    for point, x in placed:
        colour = colours[point.recipe]
        axes.scatter(
            [x],
            [point.accuracy],
            s=70 if point.width >= 128 else 28,
            marker="o" if point.labels == "hard" else "^",
            facecolors=colour if point.labels == "hard" else "none",
            edgecolors=colour,
        )


def _legend(axes: Axes, colours: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def mark(label: str, **style: object) -> Line2D:
        return Line2D([], [], linestyle="", label=label, **style)  # type: ignore[arg-type]

    marks = [mark(name, marker="s", color=colour) for name, colour in colours.items()]
    marks += [
        mark("hard labels", marker="o", color="0.3"),
        mark("soft labels", marker="^", color="0.3", markerfacecolor="none"),
        mark("ConvNet-128 (small: ConvNet-32)", marker="o", color="0.3", markersize=9),
        mark("published, ConvNet-128, on GPUs", marker="x", color="0.5"),
    ]
    axes.legend(handles=marks, fontsize=7, loc="lower right")
