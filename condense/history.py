"""A run's history: a CSV file that a resumed run ends with the same bytes."""

from __future__ import annotations

import csv
import errno
import io
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from condense.errors import printable
from condense.files import atomic_write, writing

_STEP = re.compile(r"[0-9]{1,18}")
_NONE = -1


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
                self._file = self._open(before=step, columns=["step", *figures])
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

    def _open(self, before: int, columns: list[str]) -> io.TextIOWrapper:
        """The file, open for the rows to come, with the columns and the rows before that step.

        The last line may be torn, and rows from that step on will be written again. Any other line
        that is no row is damage: what it said is lost, which is said, and the others are kept.
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
            raise FileExistsError(errno.EEXIST, "it is no file", str(self.path))
        *lines, _ = self.path.read_bytes().split(b"\n")
        return [line + b"\n" for line in lines]

    def _say_lost(self, damaged: int) -> None:
        what = f"{damaged} lines are no rows" if damaged > 1 else "a line is no row"
        if not self._columns:
            what = "its first line does not name the columns of this run"
        print(
            printable(f"warning: {self.path} is damaged: {what}; what they said is lost"),
            file=sys.stderr,
        )


def _columns(line: bytes, expected: list[str]) -> list[str]:
    """The columns that a header names, `expected` among them; none where it is another's."""
    names = line.decode("utf-8", "replace").rstrip("\n").split(",")
    ours = names[0] == "step" and len(set(names)) == len(names) and set(expected) <= set(names)
    return names if ours else []


def _step(line: bytes, columns: int) -> int:
    """The step of a row of so many cells; `_NONE` where the line is no row."""
    step, *figures = line.decode("utf-8", "replace").rstrip("\n").split(",")
    if not _STEP.fullmatch(step) or len(figures) != columns - 1:
        return _NONE
    return int(step) if all(map(_is_figure, figures)) else _NONE


def _is_figure(cell: str) -> bool:
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _in_order(steps: list[int]) -> list[int]:
    """The steps, with `_NONE` for those out of order; of two, one that is too high is the wrong."""
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
