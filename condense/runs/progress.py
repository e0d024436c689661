"""The progress bar."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from tqdm import tqdm
from condense.runs.checkpointer import Checkpointer


class Progress(Checkpointer):
    """A progress bar on stderr with rate, remaining time and metrics; it saves no checkpoints.

    If `done` decreases, as at the start of another computation, the bar is reset.
    """

    def __init__(self, description: str = "", *, quiet: bool = False) -> None:
        self.description = description
        self._quiet = quiet
        self._bar: tqdm[NoReturn] | None = None

    def report(self, done: int, total: int, **figures: float) -> None:
        """Update the bar."""
        if self._quiet:
            return
        bar = self._bar or self._start(done, total)
        if done < bar.n or total != bar.total:
            bar.reset(total)
        if figures:
            bar.set_postfix(figures, refresh=False)
        bar.update(done - bar.n)

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _start(self, done: int, total: int) -> tqdm[NoReturn]:
        from tqdm import tqdm

        # In a log file every update is a line, so updates are rare there.
        pause = 0.2 if sys.stderr.isatty() else 30.0
        bar: tqdm[NoReturn] = tqdm(
            desc=self.description or None,
            total=total,
            initial=done,  # steps of an earlier process do not count for the rate
            mininterval=pause,
            maxinterval=max(10.0, pause),
            dynamic_ncols=True,
            leave=None,  # an outer bar stays on the screen, a nested bar is removed
        )
        self._bar = bar
        return bar
