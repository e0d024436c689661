"""How the process of a worker begins: it ends with the one who has started it.

Nothing here imports torch, which takes seconds: a worker whose parent is killed in the meantime
ends too.
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
    """Be a worker until nothing is left to do, or until the parent is gone."""
    Thread(target=_end_with_parent, daemon=True).start()
    from nas.workers import run_worker

    run_worker(settings, folder, begun, count, deadline)


def _end_with_parent() -> None:
    """Whoever goes on with the search claims again what this process was at, so nothing is kept."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
