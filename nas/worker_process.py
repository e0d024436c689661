"""Entry point of a worker process, which exits when its parent exits.

This module does not import torch, which takes seconds: if the parent is killed or interrupted
during the import, the worker must exit too, and print nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread

from nas.schedule import Plan
from nas.settings import Search


@dataclass(frozen=True)
class Task:
    """What a worker process needs: `settings` of the search, with the device of this worker."""

    settings: Search
    folder: Path
    """The run folder."""
    begun: datetime
    """When the search was started or last resumed."""
    plan: Plan
    space_sha256: str
    """`Space.fingerprint` in the parent process."""
    deadline: float | None
    """`time.time()` after which no trial is started."""


def start(task: Task) -> None:
    """Run a worker until no trial is waiting or the parent has exited."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    Thread(target=_end_with_parent, daemon=True).start()
    from nas.workers import run_worker

    run_worker(task)


def _end_with_parent() -> None:
    """Exit with the parent. Nothing is saved: a resumed search enqueues the current trial again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
