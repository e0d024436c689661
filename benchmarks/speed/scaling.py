"""Scaling of time and memory with images per class, classes, width and image size."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from condense.runs.plots import new_figure, save

AXES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "ipc": ("images per class", (1, 5, 10, 20, 50)),
    "classes": ("classes", (2, 5, 10, 20, 50, 100)),
    "width": ("filters in each block", (16, 32, 64, 128, 256)),
    "size": ("pixels on a side", (16, 32, 64, 128, 224)),
}

CaseT = TypeVar("CaseT")
Measure = Callable[[str, CaseT], tuple[float, float]]
"""(backend, case) -> seconds of a step, its peak memory in bytes."""


def grow(
    case: CaseT, measure: Measure[CaseT], backends: tuple[str, ...], minutes: float
) -> pd.DataFrame:
    """A row per backend, axis and value; when time is up, the rest of an axis is left out.

    Args:
        case: a dataclass with a field for each axis; one field is changed at a time.
        measure: runs one backend on one case.
        backends: the backends to measure.
        minutes: in total; each axis gets an equal share.
    """
    rows: list[dict[str, Any]] = []
    for axis, (_, values) in AXES.items():
        deadline = time.monotonic() + 60 * minutes / len(AXES)
        last = 0.0
        for value in values:
            started = time.monotonic()
            if started + 2 * last > deadline:
                print(f"{axis}: time is up, {value} and larger are not measured", flush=True)
                break
            for backend in backends:
                seconds, memory = measure(backend, replace(case, **{axis: value}))  # type: ignore[type-var]
                rows.append(
                    {
                        "axis": axis,
                        "value": value,
                        "backend": backend,
                        "seconds": seconds,
                        "bytes": memory,
                    }
                )
                print(
                    f"{axis} {value} {backend}: {seconds:.3f} s, {memory / 2**20:.0f} MB",
                    flush=True,
                )
            last = time.monotonic() - started
    return pd.DataFrame(rows)


def plot(table: pd.DataFrame, title: str, path: Path) -> None:
    """Plot time above and memory below, a column per axis; both scales are logarithmic."""
    figure = new_figure(12, 5)
    panels = figure.subplots(2, len(AXES), sharey="row", squeeze=False)
    for column, (axis, (label, _)) in enumerate(AXES.items()):
        for axes, what, unit in zip(
            panels[:, column], ("seconds", "bytes"), (1.0, 2.0**20), strict=True
        ):
            for backend, points in table[table["axis"] == axis].groupby("backend"):
                axes.loglog(points["value"], points[what] / unit, marker="o", label=backend)
            values = sorted(set(table.loc[table["axis"] == axis, "value"]))
            axes.set_xticks(values, map(str, values))
            axes.xaxis.minorticks_off()
            axes.grid(alpha=0.3)
        panels[1, column].set_xlabel(label)
    panels[0, 0].set_ylabel("seconds per step")
    panels[1, 0].set_ylabel("memory (MB)")
    panels[0, 0].legend()
    figure.suptitle(title)
    save(figure, path)
