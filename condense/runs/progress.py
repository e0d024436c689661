"""The progress bar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm
from condense.runs.checkpointer import Checkpointer


class Progress(Checkpointer):
    """A progress bar on stderr with rate, remaining time and metrics; it saves no checkpoints.

    If `done` decreases, as at the start of another computation, the bar is reset. A stage has a
    bar of its own, which is removed at its end.
    """

    def __init__(self, description: str = "", *, quiet: bool = False) -> None:
        self.description = description
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None
        self._stage: tqdm[NoReturn] | None = None

    def report(self, done: int, total: int, **metrics: float) -> None:
        """Update the bar."""
        if self._quiet:
            return
        self._close_stage()
        bar = self._bar = self._bar or _bar(self.description, done, total)
        if done < bar.n or total != bar.total:
            bar.reset(total)
        if metrics:
            bar.set_postfix(metrics, refresh=False)
        bar.update(done - bar.n)

    def stage(self, name: str, total: int, done: int) -> None:
        """Update the bar of the stage."""
        if self._quiet:
            return
        if done == 0:
            self._close_stage()
        bar = self._stage = self._stage or _bar(name, done, total, leave=False)
        bar.update(done - bar.n)
        if done == total:
            self._close_stage()

    def close(self) -> None:
        """Close the bars."""
        self._close_stage()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _close_stage(self) -> None:
        if self._stage is not None:
            self._stage.close()
            self._stage = None


def _bar(description: str, done: int, total: int, leave: bool | None = None) -> tqdm[NoReturn]:
    """A bar. `leave`: whether it stays on the screen; None: unless it is inside another bar."""
    from tqdm import tqdm

    # In a log file every update is a line, so updates are rare there; not so in a notebook.
    pause = 0.2 if sys.stderr.isatty() or "ipykernel" in sys.modules else 30.0
    return tqdm(
        desc=description or None,
        total=total,
        initial=done,  # steps of an earlier process do not count for the rate
        mininterval=pause,
        maxinterval=max(10.0, pause),
        dynamic_ncols=True,
        leave=leave,
    )
