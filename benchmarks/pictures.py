"""Figures as PNG files, with their data source in the metadata."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from condense.runs.io import atomic_write, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(figure: Figure, path: Path, about: object = None) -> None:
    """Write a figure atomically; the same figure gives the same bytes.

    Args:
        figure: the figure.
        path: of the PNG file.
        about: what it shows and how that was measured; written as JSON to the file's
            `Description`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    said: dict[str, str | None] = {"Software": None}
    if about is not None:
        said["Description"] = json.dumps(plain(about))
    with atomic_write(path) as aside:
        FigureCanvasAgg(figure).print_png(str(aside), metadata=said)
