"""Measurements as CSV files with one row each, always written as a whole; means in a cell."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from filelock import FileLock

from condense.runs.io import atomic_write

RESULTS = Path(__file__).parent / "results"

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, with text values; empty if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write all rows atomically; a row without a column of another has an empty cell there."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic_write(path) as aside:
        aside.write_text(text.getvalue(), encoding="utf-8")


def add_rows(path: Path, rows: Sequence[Row], instead_of: Row | None = None) -> None:
    """Add rows to a file, to which other processes may add rows at the same time.

    Args:
        path: the file.
        rows: the new rows.
        instead_of: a row of the file that is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        kept = [row for row in read_rows(path) if row != instead_of]
        write_rows(path, [*kept, *rows])


def measure_missing(
    path: Path, cases: Iterable[Row], key: Sequence[str], measure: Callable[[Row], Row]
) -> None:
    """Add a row to a file for each case without one; each row is saved when it is measured.

    Args:
        path: the file.
        cases: values of the columns `key` of each row.
        key: columns that identify a measurement.
        measure: the row of a case.
    """
    for case in cases:
        if not any(all(row[name] == str(case[name]) for name in key) for row in read_rows(path)):
            add_rows(path, [measure(case)])


def as_cell(accuracies: Iterable[float]) -> str:
    """Accuracies from 0 to 1 as a cell with several numbers, in per cent."""
    return " ".join(f"{100 * value:.2f}" for value in accuracies)


def numbers(cell: str) -> list[float]:
    """The numbers of a cell with several."""
    return [float(value) for value in cell.split()]


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± standard deviation (n − 1); one value: the mean; none: empty."""
    if not values:
        return ""
    error = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{error}"


def difference(ours: Mapping[Any, float], theirs: Mapping[Any, float]) -> str:
    """Mean difference over the seeds that both have, with its 95 % interval (Student's t).

    Args:
        ours, theirs: values by seed.
    """
    from scipy.stats import t

    pairs = [value - theirs[seed] for seed, value in ours.items() if seed in theirs]
    if not pairs:
        return ""
    mean = fmean(pairs)
    if len(pairs) < 2:
        return f"{mean:+.1f}"
    half = float(t.ppf(0.975, len(pairs) - 1)) * stdev(pairs) / len(pairs) ** 0.5
    return f"{mean:+.1f} [{mean - half:+.1f}, {mean + half:+.1f}]"
