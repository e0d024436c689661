"""Entry point of a worker process, which exits when its parent exits.

This module does not import torch, which takes seconds: if the parent is killed during the import,
the worker must exit too.
"""

from __future__ import annotations

import multiprocessing
import os
from datetime import datetime
from pathlib import Path
from threading import Thread

from nas.settings import Search


def start(
    settings: Search, folder: Path, begun: datetime, count: int, deadline: float | None
) -> None:
    """Run a worker until no trial is left or the parent has exited."""
    Thread(target=_end_with_parent, daemon=True).start()
    from nas.workers import run_worker

    run_worker(settings, folder, begun, count, deadline)


def _end_with_parent() -> None:
    """Exit with the parent. Nothing is saved: a resumed search enqueues the current trial again."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
