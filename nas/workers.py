"""The training processes: this process alone, or several workers that share the study."""

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

from condense import UserError, keep_freed_memory
from condense.cli.device import set_determinism
from nas import worker_process
from nas.experiment import Experiment
from nas.settings import Search
from nas.storage import reaching
from nas.study import SharedStudy

POLL_SECONDS = 0.5
DEATHS_IN_A_ROW = 20
"""The search stops if more workers than this die without a result in between."""


def work(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None = None,
    on_result: Callable[[], None] = lambda: None,
) -> None:
    """Train one architecture after another until none is left or the deadline has passed.

    Args:
        experiment: trains the architectures.
        study: supplies the trials.
        deadline: `time.time()` after which no trial is started, once there is a result.
        on_result: called after every result, and while waiting for other workers.
    """
    while True:
        if deadline is not None and time.time() > deadline and study.done():
            return
        trial = study.ask()
        if trial is not None:
            with study.holding(trial):
                result = experiment.train(study, trial)
            study.tell(trial, result)
            on_result()
        elif study.fill():
            # No trial is waiting, but trials of other workers may be enqueued again.
            if study.waiting():
                continue
            on_result()
            time.sleep(POLL_SECONDS)
        else:
            return


def work_together(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None = None,
    on_result: Callable[[], None] = lambda: None,
) -> None:
    """Train with `workers` processes, and replace those that are killed.

    Raises:
        UserError: workers die repeatedly, or a worker raised a `UserError`.
    """
    count = min(experiment.settings.workers, len(experiment.wanted))
    crew: list[BaseProcess] = []
    died, done = 0, 0
    try:
        for _ in range(count):
            crew.append(_hire(experiment, count, deadline))
        while any(worker.is_alive() for worker in crew):
            time.sleep(POLL_SECONDS)
            on_result()
            for place, worker in enumerate(crew):
                if not worker.exitcode:
                    continue
                _require_killed(worker)
                now_done = len(study.done())
                died, done = (1, now_done) if now_done > done else (died + 1, done)
                if died > DEATHS_IN_A_ROW:
                    raise UserError(
                        "workers are killed repeatedly: use fewer of them, "
                        f"with --resume {experiment.folder} --workers {max(1, count // 2)}"
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
    """Raise unless a signal ended the worker (a kill, or out of memory): that is no error here."""
    assert worker.exitcode is not None
    if worker.exitcode == 2:
        raise UserError("a worker stopped with the error above")
    if worker.exitcode > 0:
        raise RuntimeError(f"a worker failed with exit code {worker.exitcode}, see above")


def run_worker(
    settings: Search, folder: Path, begun: datetime, count: int, deadline: float | None
) -> None:
    """The main function of a worker process.

    SIGTERM and SIGHUP keep their default action and end it at once: there is nothing to clean up,
    and its trial is enqueued again.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    keep_freed_memory()
    set_determinism(settings.common)
    torch.set_num_threads(max(1, torch.get_num_threads() // count))
    try:
        experiment = Experiment.in_worker(settings, folder, begun)
        with reaching(), closing(experiment.study()) as study:
            work(experiment, study, deadline)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
