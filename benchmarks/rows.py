"""What was measured, as CSV files: a row for each measurement, every file written whole. And how
rows are shown."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from condense.files import atomic_write

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, their values as text; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows, atomically; the first one says which columns there are."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation (n − 1) to one place; of one value the mean, of none nothing."""
    if not values:
        return ""
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def markdown(header: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A table in Markdown, line by line."""
    for line in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(line)} |"
