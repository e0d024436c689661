"""Figures as PNG files. matplotlib is imported only when a figure is made."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from condense.runs.io import atomic_write, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float, height: float, dpi: float | None = None) -> Figure:
    """An empty figure of this size in inches; its parts are laid out so that none overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str], about: object = None) -> None:
    """Write a figure atomically as a PNG file; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: of the PNG file.
        about: what it shows and how that was measured; written as JSON to the file's
            `Description`.

    Raises:
        UserError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Without the version of matplotlib, which would change the bytes.
    metadata: dict[str, str | None] = {"Software": None}
    if about is not None:
        metadata["Description"] = json.dumps(plain(about))
    with atomic_write(path) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata=metadata)
