"""Figures as PNG files. matplotlib is imported only when a figure is made."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from condense.errors import UserError
from condense.runs.io import atomic_write, plain, read_text

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

_MOST_CURVES = 6
_LARGEST = 1e30
"""Larger values, which only a damaged file has, are not drawn."""


def new_figure(width: float, height: float, dpi: float | None = None) -> Figure:
    """An empty figure of this size in inches; its parts are laid out so that none overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str], about: object = None) -> None:
    """Write a figure atomically as a PNG file; the same figure gives the same bytes.

    Args:
        figure: the figure; its axes whose label ends in (%) end at 0 and 100.
        path: of the PNG file.
        about: what it shows and how that was measured; written as JSON to the file's
            `Description`.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axes in figure.axes:
        for axis, limit in ((axes.xaxis, axes.set_xlim), (axes.yaxis, axes.set_ylim)):
            if axis.get_label_text().endswith("(%)"):
                limit(_ending_at_100(axis))
    # Without the version of matplotlib, which would change the bytes.
    metadata: dict[str, str | None] = {"Software": None}
    if about is not None:
        metadata["Description"] = json.dumps(plain(about))
    with atomic_write(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata=metadata)


def plot_history(path: Path, history: Path, without: Collection[str] = ()) -> bool:
    """Plot the columns of a history over the steps, one below the other, to a PNG file.

    Args:
        path: of the PNG file.
        history: history.csv of a run; it may be missing or damaged.
        without: columns that are not shown.

    Returns:
        Whether there was something to plot.

    Raises:
        UserError: the PNG file cannot be written.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(history))))
    except (UserError, csv.Error):
        return False
    names = [name for name in (rows[0] if rows else ()) if name not in (None, "step", *without)]
    names = names[:_MOST_CURVES]
    if not names:
        return False
    steps = [_number(row.get("step")) for row in rows]
    figure = new_figure(7, 0.6 + 2.2 * len(names), dpi=130)
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        axes.plot(steps, [_number(row[name]) for row in rows], linewidth=1.2)
        axes.set_ylabel(as_text(name))
        axes.grid(alpha=0.3)
    axes.set_xlabel("step")
    count_on(axes.xaxis)
    save(figure, path)
    return True


def count_on(axis: Axis) -> None:
    """Only whole numbers are written on the axis, however few there are."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))


def _ending_at_100(axis: Axis) -> tuple[float, float]:
    """The limits of an axis in per cent, whose numbers below 0 and above 100 are removed.

    There is room for a whole marker at 0 and at 100.
    """
    low, high = axis.get_view_interval()
    least, most = max(low, 0.0), min(high, 100.0)
    if (low, high) != (least, most):
        axis.set_ticks([tick for tick in axis.get_ticklocs() if least <= tick <= most])
    room = 0.03 * (most - least)
    return max(low, -room), min(high, 100.0 + room)


def as_text(text: str) -> str:
    """Text that matplotlib draws as it is: `$` begins no formula, a leading `_` hides no label."""
    shown = text.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _number(cell: str | None) -> float:
    """A cell of a history; NaN if it is not a finite number."""
    try:
        value = float(cell or "nan")
    except ValueError:
        return math.nan
    return value if abs(value) < _LARGEST else math.nan
