"""The lock of a journal file: for the processes of a search, and for other programs that write it.

Optuna's lock file remains when its holder is killed, and then others wait for half a minute. So the
processes of a search use a lock that the system releases, and its holder takes Optuna's beside it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

POLL_SECONDS = 0.005
GRACE_SECONDS = 30.0
"""As in Optuna: a lock file that another program holds for so long was left by a killed one."""


class JournalLock:
    """The lock of the journal file `path`."""

    def __init__(self, path: Path) -> None:
        self._own = path.with_name(f".{path.name}.lock")
        self._optunas = path.with_name(f"{path.name}.lock")
        self._lock = FileLock(self._own, poll_interval=POLL_SECONDS)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A context in which no other process of the search, and no other program, writes."""
        with self._lock:
            self._take_optunas()
            try:
                yield
            finally:
                if self._is_ours():
                    self._optunas.unlink()

    def _take_optunas(self) -> None:
        """Create the lock file of Optuna's file backend: a link to our own, to know it again."""
        began = time.monotonic()
        while not self._is_ours():  # it is if its process was killed, as the other lock is held
            try:
                self._optunas.symlink_to(self._own.name)
            except FileExistsError:
                if time.monotonic() - began > GRACE_SECONDS:
                    self._optunas.unlink(missing_ok=True)
                time.sleep(POLL_SECONDS)
            except OSError:  # a file system without links, where others cannot use theirs either
                return

    def _is_ours(self) -> bool:
        try:
            return str(self._optunas.readlink()) == self._own.name
        except OSError:  # there is no such file, or it is no link
            return False
