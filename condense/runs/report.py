"""What commands print: tables, and the files of a run.

pandas is not used: its `to_string` separates columns by one space, which is not enough for cells
of several words, and does not align to the left; its `to_markdown` needs one more package.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from condense.runs.html_report import REPORT


def per_cent(mean: float, std: float | None = None) -> str:
    """A fraction of 1 in per cent with one decimal, with its standard deviation if it is given.

    >>> per_cent(0.485), per_cent(0.485, 0.002)
    ('48.5 %', '48.5 ± 0.2 %')
    """
    spread = "" if std is None else f" ± {100 * std:.1f}"
    return f"{100 * mean:.1f}{spread} %"


def text_table(rows: Iterable[Sequence[str]]) -> str:
    """Rows of equal length as lines, with left-aligned columns two spaces apart."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def markdown_table(header: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def indented(text: str) -> str:
    """The text with two spaces before each line."""
    return textwrap.indent(text, "  ")


def list_files(run: Path) -> str:
    """A line for each file of a run folder, the report last; the lock and temporary files are
    hidden."""
    names = [path.name for path in run.iterdir() if not path.name.startswith(".")]
    names.sort(key=lambda name: (name == REPORT, name))
    return indented("\n".join(str(run / name) for name in names))
