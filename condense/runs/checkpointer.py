"""Progress reports and checkpoints of long computations.

A computation receives a `Checkpointer` and calls it at every step::

    checkpoint = checkpointer.restore()            # the last checkpoint, or None
    checkpointer.stage("training a network", 10, 0)  # where something else takes long
    for step in range(start, total):
        ...
        checkpointer.report(step + 1, total, loss=loss)
        checkpointer.save(Checkpoint({"images": images}, {"step": step + 1}))

`Checkpointer` itself does nothing; `Progress` shows a progress bar; `FileCheckpointer` writes a
checkpoint file and a CSV history. Call `report` before `save`, so that no row is missing after a
resume."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from condense.runs.checkpoint import Checkpoint
from condense.runs.closing import Closing
from condense.runs.csv_log import CSVLog
from condense.runs.io import is_file

if TYPE_CHECKING:
    from PIL.Image import Image


class Checkpointer(Closing):
    """Does nothing: for computations without progress reports and checkpoints."""

    def restore(self) -> Checkpoint | None:
        """The checkpoint to resume from; None for a new start."""
        return None

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a checkpoint. Call it at every step: it is cheap, the file is written rarely."""

    def spent_before(self, seconds: float) -> None:
        """Add the time that another run spent on the checkpoint that this run resumes from."""

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Report that `done` of `total` steps are completed, and the current metrics."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Report that `done` of `total` steps of a stage are completed, such as the training of a
        network. A stage begins with 0 and ends with `total`; it has no history and no checkpoints.
        """

    def draw(self, done: int, total: int, picture: Callable[[], Image]) -> None:
        """Offer a picture of the images after `done` of `total` steps; few are drawn."""

    def flush(self) -> None:
        """Write the last checkpoint, if it is not written yet."""

    def close(self) -> None:
        """Flush, and remove the progress bar."""


class Listeners(Checkpointer):
    """Passes reports and pictures on to several checkpointers; it saves no checkpoints."""

    def __init__(self, *listeners: Checkpointer) -> None:
        self._listeners = listeners

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Pass the report on."""
        for listener in self._listeners:
            listener.report(done, total, **metrics)

    def stage(self, name: str, total: int, done: int) -> None:
        """Pass the report on."""
        for listener in self._listeners:
            listener.stage(name, total, done)

    def draw(self, done: int, total: int, picture: Callable[[], Image]) -> None:
        """Pass the picture on."""
        for listener in self._listeners:
            listener.draw(done, total, picture)

    def close(self) -> None:
        """Close all."""
        for listener in self._listeners:
            listener.close()


class OwnCheckpoints(Listeners):
    """Adds checkpoints to the reports: each names its computation, and no other is resumed.

    Args:
        checkpointer: receives the reports and the checkpoints.
        key: of the computation: a hash of all that its result depends on.
    """

    def __init__(self, checkpointer: Checkpointer, key: str) -> None:
        super().__init__(checkpointer)
        self._checkpointer, self._key = checkpointer, key

    def restore(self) -> Checkpoint | None:
        """The checkpoint to resume from; None for a new start.

        Raises:
            UserError: it is of another computation.
        """
        found = self._checkpointer.restore()
        if found is not None:
            with found.restoring():
                if found.state["key"] != self._key:
                    raise ValueError("other images, settings or another seed")
        return found

    def save(self, checkpoint: Checkpoint) -> None:
        """Pass the checkpoint on, with the key."""
        state = {**checkpoint.state, "key": self._key}
        self._checkpointer.save(replace(checkpoint, state=state))


class FileCheckpointer(Listeners):
    """Writes a checkpoint file and optionally a CSV history, and passes reports on.

    Args:
        path: the checkpoint file.
        history: a CSV file with one row per report; None: no history.
        show: also receives the reports, usually a `Progress`.
        every_seconds: minimum time between two writes of the checkpoint. A checkpoint that is not
            written is kept as a copy in memory until the next `save` or `flush`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        history: str | os.PathLike[str] | None = None,
        show: Checkpointer | None = None,
        every_seconds: float = 20.0,
    ) -> None:
        super().__init__(*([] if show is None else [show]))
        self.path = Path(path)
        self._history = CSVLog(history) if history is not None else None
        self._every = every_seconds
        self._pending: Checkpoint | None = None
        self._started = self._written = time.monotonic()
        self._earlier = 0.0

    @property
    def seconds(self) -> float:
        """Time spent over all sessions, without the work lost in interruptions."""
        return self._earlier + time.monotonic() - self._started

    def restore(self) -> Checkpoint | None:
        """The checkpoint in the file, tensors on the CPU; None if there is no file."""
        if not is_file(self.path):
            return None
        checkpoint = Checkpoint.read(self.path)
        self._earlier = checkpoint.seconds
        return checkpoint

    def save(self, checkpoint: Checkpoint) -> None:
        """Keep a copy, and write it if the last write is at least `every_seconds` ago."""
        self._pending = checkpoint.snapshot(self.seconds)
        if time.monotonic() - self._written >= self._every:
            self.flush()

    def spent_before(self, seconds: float) -> None:
        """Add to `seconds`."""
        self._earlier += seconds

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Add a row to the history, with step `done`, and pass the report on."""
        if self._history is not None:
            self._history.append(done, metrics)
        super().report(done, total, **metrics)

    def flush(self) -> None:
        """Write the last checkpoint, after all rows of the history."""
        if self._pending is None:
            return
        if self._history is not None:
            self._history.sync()  # rows must be on disk before the checkpoint
        self._pending.write(self.path)
        self._pending = None
        self._written = time.monotonic()

    def close(self) -> None:
        """Flush, and close `show` and the history."""
        try:
            self.flush()
        finally:
            super().close()
            if self._history is not None:
                self._history.close()
