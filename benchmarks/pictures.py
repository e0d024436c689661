"""Figures as PNG files that say in their text what they were drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from condense.files import atomic_write, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write(figure: Figure, path: Path, about: object = None) -> None:
    """Write a figure, atomically; the same bytes for the same figure.

    Args:
        figure: what to draw.
        path: of the PNG file.
        about: what it shows and how that was measured; as JSON it is the file's `Description`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    said: dict[str, str | None] = {"Software": None}
    if about is not None:
        said["Description"] = json.dumps(plain(about))
    with atomic_write(path) as aside:
        FigureCanvasAgg(figure).print_png(str(aside), metadata=said)
