"""The processes that train: this one alone, or several that share the study."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from condense import UserError, command_line, keep_freed_memory
from nas import worker_process
from nas.experiment import Experiment
from nas.settings import Search
from nas.storage import reaching
from nas.study import SharedStudy

POLL_SECONDS = 0.5
DEATHS_IN_A_ROW = 20
"""Workers that may die, without a result in between, before the search is given up."""


def work(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None = None,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Train one architecture after the other until none is left, or the time is up.

    Args:
        experiment: knows how.
        study: knows what.
        deadline: `time.time()` after which nothing more is begun, once there is a result.
        tell: called whenever something is done.
    """
    while True:
        if deadline is not None and time.time() > deadline and study.done():
            return
        trial = study.claim()
        if trial is not None:
            with study.holding(trial):
                outcome = experiment.train(study, trial)
            study.finish(trial, outcome)
            tell()
        elif study.fill():
            # Nothing waits, but what others are at may yet come back.
            if study.waiting():
                continue
            tell()
            time.sleep(POLL_SECONDS)
        else:
            return


def work_together(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None = None,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Have as many processes as the settings say train, and replace those that are killed.

    Raises:
        UserError: workers die again and again, or one met what the user can mend.
    """
    count = min(experiment.settings.workers, len(experiment.wanted))
    crew: list[BaseProcess] = []
    died, done = 0, 0
    try:
        for _ in range(count):
            crew.append(_hire(experiment, count, deadline))
        while any(worker.is_alive() for worker in crew):
            time.sleep(POLL_SECONDS)
            tell()
            for place, worker in enumerate(crew):
                if not worker.exitcode:
                    continue
                _require_killed(worker)
                now_done = len(study.done())
                died, done = (1, now_done) if now_done > done else (died + 1, done)
                if died > DEATHS_IN_A_ROW:
                    raise UserError(
                        "the workers are killed again and again: try fewer, by "
                        f"--resume {experiment.folder} --workers {max(1, count // 2)}"
                    )
                crew[place] = _hire(experiment, count, deadline)
    finally:
        for worker in crew:
            worker.terminate()
        for worker in crew:
            worker.join()


def _hire(experiment: Experiment, count: int, deadline: float | None) -> BaseProcess:
    worker = multiprocessing.get_context("spawn").Process(
        target=worker_process.start,
        args=(experiment.settings, experiment.folder, experiment.begun, count, deadline),
        daemon=True,
    )
    worker.start()
    return worker


def _require_killed(worker: BaseProcess) -> None:
    """Somebody's kill, or the system's want of memory, is no fault of the program."""
    assert worker.exitcode is not None
    if worker.exitcode == 2:
        raise UserError("a worker had to stop, as it says above")
    if worker.exitcode > 0:
        raise RuntimeError(f"a worker failed with exit code {worker.exitcode}, see above")


def run_worker(
    settings: Search, folder: Path, begun: datetime, count: int, deadline: float | None
) -> None:
    """What a worker process does.

    On SIGTERM and SIGHUP it ends at once, as the system has it: it has nothing to put in order, and
    what it was at is claimed again.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who hired
    keep_freed_memory()
    command_line.set_determinism(settings.common)
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        experiment = Experiment.in_worker(settings, folder, begun)
        with reaching(), closing(experiment.study()) as study:
            work(experiment, study, deadline)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
