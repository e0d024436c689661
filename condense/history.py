"""A run's history: a CSV file that a resumed run ends with the same bytes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from condense.files import writing


class History:
    """A CSV file that grows by a row per step: `step`, and columns that its first row fixes.

    A run that is resumed repeats the steps after its last checkpoint. The rows that it wrote for
    them before are dropped at its first new row, so that the file ends as if nothing had happened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: io.TextIOWrapper | None = None
        self._columns: list[str] = []
        self._last: int | None = None

    def append(self, step: int, figures: Mapping[str, float]) -> None:
        """Writes a row and hands it to the operating system.

        Raises:
            ValueError: a step that is not after the one before, or a column the first row lacks.
            UserError: the disk is full, or another refusal to write.
        """
        if self._last is not None and step <= self._last:
            raise ValueError(f"history {self.path}: step {step} comes after step {self._last}")
        with writing(self.path):
            if self._file is None:
                self._file = self._open(before=step)
            if not self._columns:
                self._columns = ["step", *figures]
                self._file.write(_row(self._columns))
            unknown = set(figures) - set(self._columns)
            if unknown:
                raise ValueError(f"history {self.path} has no column {sorted(unknown)}")
            row = {"step": step, **figures}
            self._file.write(_row([row.get(column, "") for column in self._columns]))
            self._file.flush()
        self._last = step

    def sync(self) -> None:
        """Waits until all rows are on the disk."""
        if self._file is not None:
            with writing(self.path):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; what could not be written has been said by `append`."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self, before: int) -> io.TextIOWrapper:
        file = self.path.open("ab+")  # stays open for the rows to come
        file.seek(0)
        end = 0
        for line in file:
            cells = line.decode("utf-8", "replace").rstrip("\n").split(",")
            if not line.endswith(b"\n") or (end and not _is_before(cells[0], before)):
                break
            if not end:
                self._columns = cells
            end += len(line)
        file.truncate(end)
        file.seek(end)
        return io.TextIOWrapper(file, encoding="utf-8", newline="")


def _is_before(cell: str, step: int) -> bool:
    return cell.isdigit() and int(cell) < step


def _row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
