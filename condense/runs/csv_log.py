"""The history of a run: a CSV file, byte-identical for resumed and uninterrupted runs."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from condense.runs.io import atomic_write, writing
from condense.system.notes import warning

_STEP = re.compile(r"[0-9]{1,18}")
_NONE = -1


class CSVLog:
    """A CSV file with one row per step: `step`, and columns fixed by the first row.

    A resumed run repeats the steps after its last checkpoint. The old rows of these steps are
    removed before the first new row is written, so the file is the same as without interruption.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: io.TextIOWrapper | None = None
        self._columns: list[str] = []
        self._last: int | None = None

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a row and flush it to the operating system.

        Raises:
            ValueError: the step does not increase, or a column is not in the first row.
            UserError: the disk is full, or the file cannot be written for another reason.
        """
        if self._last is not None and step <= self._last:
            raise ValueError(f"history {self.path}: step {step} comes after step {self._last}")
        with writing(self.path):
            if self._file is None:
                self._file = self._open(before=step, columns=["step", *metrics])
            if not self._columns:
                self._columns = ["step", *metrics]
                self._file.write(_row(self._columns))
            unknown = set(metrics) - set(self._columns)
            if unknown:
                raise ValueError(f"history {self.path} has no column {sorted(unknown)}")
            row = {"step": step, **metrics}
            self._file.write(_row([row.get(column, "") for column in self._columns]))
            self._file.flush()
        self._last = step

    def sync(self) -> None:
        """Wait until all rows are on disk."""
        if self._file is not None:
            with writing(self.path):
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; write errors were already raised by `append`."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self, before: int, columns: list[str]) -> io.TextIOWrapper:
        """Open the file for new rows; only the header and the rows before that step are kept.

        The last line may be incomplete, and rows from that step on are written again. Any other
        invalid line is damage: it is removed with a warning, and the other rows are kept.
        """
        header, *lines = self._lines() or [b""]
        self._columns = _columns(header, columns) if header else []
        steps = [_step(line, len(self._columns)) for line in lines]
        sound = _in_order(steps)
        kept = [line for line, step in zip(lines, sound, strict=True) if _NONE < step < before]
        whole = b"".join([header, *kept]) if self._columns else b""
        damaged = sound.count(_NONE) + (header != b"" and not self._columns)
        if damaged:
            self._say_lost(damaged)
            with atomic_write(self.path) as temporary:
                temporary.write_bytes(whole)
        file = self.path.open("ab")
        file.truncate(len(whole))
        return io.TextIOWrapper(file, encoding="utf-8", newline="")

    def _lines(self) -> list[bytes]:
        """The lines of the file that end in a newline."""
        if not os.path.lexists(self.path):
            return []
        if not self.path.is_file():
            raise FileExistsError(errno.EEXIST, "it is not a file", str(self.path))
        *lines, _ = self.path.read_bytes().split(b"\n")
        return [line + b"\n" for line in lines]

    def _say_lost(self, damaged: int) -> None:
        what = f"{damaged} lines are not rows" if damaged > 1 else "a line is not a row"
        if not self._columns:
            what = "its first line does not name the columns of this run"
        warning(f"{self.path} is damaged: {what}; their content is lost")


def _columns(line: bytes, expected: list[str]) -> list[str]:
    """The columns in a header; empty if it is invalid or an `expected` column is missing."""
    names = line.decode("utf-8", "replace").rstrip("\n").split(",")
    ours = names[0] == "step" and len(set(names)) == len(names) and set(expected) <= set(names)
    return names if ours else []


def _step(line: bytes, columns: int) -> int:
    """The step of a row with `columns` cells; `_NONE` if the line is not a valid row."""
    step, *metrics = line.decode("utf-8", "replace").rstrip("\n").split(",")
    if not _STEP.fullmatch(step) or len(metrics) != columns - 1:
        return _NONE
    return int(step) if all(map(_is_number, metrics)) else _NONE


def _is_number(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _in_order(steps: list[int]) -> list[int]:
    """The steps, `_NONE` if out of order; of two in wrong order, the higher one is `_NONE`."""
    found, last = [], _NONE
    for step, following in zip(steps, [*steps, _NONE][1:], strict=True):
        wrong = step <= last or last < following <= step
        found.append(_NONE if wrong else step)
        last = last if wrong else step
    return found


def _row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()
