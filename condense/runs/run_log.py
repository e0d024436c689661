"""run.log: what happened in a run and when, as plain text."""

from __future__ import annotations

import math
import time
from pathlib import Path

from condense.runs.checkpointer import Checkpointer
from condense.runs.io import writing

RUN_LOG = "run.log"
EVERY_SECONDS = 10.0
"""Between two lines of progress."""


class RunLog:
    """A text file; every line begins with the date and time. A resumed run appends to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.used = False
        """Whether this process has written a line."""

    def write(self, text: str) -> None:
        """Append the lines of a text.

        Raises:
            UserError: the file cannot be written.
        """
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        with writing(self.path), self.path.open("a", encoding="utf-8", errors="replace") as file:
            file.writelines(f"{now}  {line}\n" for line in text.splitlines())
        self.used = True


class LoggedProgress(Checkpointer):
    """Writes reports to the log: the first and the last, also of a stage, and one every
    `EVERY_SECONDS`."""

    def __init__(self, log: RunLog, name: str) -> None:
        self._log, self._name = log, name
        self._reported = False
        self._written = -math.inf

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Write a line, unless the last one is recent."""
        known = "".join(f", {name} {value:.6g}" for name, value in metrics.items())
        always = not self._reported or done == total
        self._write(f"{self._name}: {done} of {total}{known}", always=always)
        self._reported = True

    def stage(self, name: str, total: int, done: int) -> None:
        """Write a line, unless the last one is recent."""
        self._write(f"{self._name}, {name}: {done} of {total}", always=done in (0, total))

    def _write(self, text: str, *, always: bool) -> None:
        now = time.monotonic()
        if always or now - self._written >= EVERY_SECONDS:
            self._log.write(text)
            self._written = now
