"""The training processes: this process alone, or several workers that share the study."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing.connection
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

import torch

from condense import UserError, keep_freed_memory
from condense.cli.device import choose_device, set_determinism
from condense.errors import one_line
from condense.system.notes import no_notes
from nas import worker_process
from nas.experiment import Experiment
from nas.objective import TrialResult, device_failure
from nas.schedule import Plan
from nas.settings import Search
from nas.storage import reaching
from nas.study import SharedStudy

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

Train = Callable[[SharedStudy, "FrozenTrial"], TrialResult]
"""Trains the architecture of a trial."""
POLL_SECONDS = 2.0
DEATHS_IN_A_ROW = 20
"""The search stops if more workers than this end, killed or idle, without a result in between."""


def work(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None,
    on_result: Callable[[], None],
) -> None:
    """Train one architecture after another until all are done or the deadline has passed.

    Args:
        experiment: trains the architectures.
        study: supplies the trials.
        deadline: `time.time()` after which no trial is started, once there is a result.
        on_result: called after every result, and while waiting for other machines.

    Raises:
        UserError: the device failed; the architecture has this as its result.
    """
    train = functools.partial(_train_alone, experiment)
    while True:
        train_waiting(train, study, deadline, on_result)
        if not study.fill() or is_over(study, deadline):
            return
        if not study.waiting():  # but trials of other machines may be enqueued again
            on_result()
            time.sleep(POLL_SECONDS)


def _train_alone(experiment: Experiment, study: SharedStudy, trial: FrozenTrial) -> TrialResult:
    """Train in this process, which cannot go on if the device fails; a resumed search can."""
    try:
        return experiment.train(study, trial)
    except torch.AcceleratorError as error:
        reason = device_failure(error)
        study.tell(trial, TrialResult(0, reason=reason))
        name = experiment.space.names[study.index(trial)]
        raise UserError(
            f"{name}: {reason}: go on with the other architectures with "
            f"--resume {experiment.folder}"
        ) from error


def train_waiting(
    train: Train,
    study: SharedStudy,
    deadline: float | None,
    on_result: Callable[[], None] = lambda: None,
) -> None:
    """Train one architecture after another until none is waiting or the deadline has passed."""
    while not is_over(study, deadline):
        trial = study.ask()
        if trial is None:
            return
        with study.holding(trial):
            study.tell(trial, train(study, trial))
        on_result()


def is_over(study: SharedStudy, deadline: float | None) -> bool:
    """Whether no more trials are started: the deadline has passed, and there is a result."""
    return deadline is not None and time.time() > deadline and bool(study.known())


def work_together(
    experiment: Experiment,
    study: SharedStudy,
    deadline: float | None,
    on_result: Callable[[], None],
) -> None:
    """Train with `workers` processes, and replace those that are killed.

    A worker ends when no trial is waiting; others follow if a trial is enqueued again, because a
    worker of any machine was killed.

    Raises:
        UserError: workers die repeatedly, or a worker raised a `UserError`.
    """
    crew = Crew(experiment, deadline)
    try:
        while study.fill():
            over = is_over(study, deadline)
            if over and not crew.working:
                return
            crew.hire(0 if over else study.waiting())
            crew.wait(POLL_SECONDS)
            on_result()
            crew.dismiss(lambda: len(study.known()), 0 if over else study.waiting())
    finally:
        crew.close()


class Crew:
    """The worker processes of a search.

    Args:
        experiment: the search.
        deadline: as in `work`.
    """

    def __init__(self, experiment: Experiment, deadline: float | None) -> None:
        settings, order = experiment.settings, experiment.plan.order
        self._count = min(settings.workers, len(order))
        self._folder = experiment.folder
        share = max(1, torch.get_num_threads() // self._count)
        plan = Plan(order, experiment.plan.threads or dict.fromkeys(order, share))
        self._tasks = [
            worker_process.Task(
                on_device(settings, number),
                experiment.folder,
                experiment.begun,
                plan,
                experiment.space.fingerprint,
                deadline,
            )
            for number in range(self._count)
        ]
        self.working: dict[int, BaseProcess] = {}
        self._ended, self._done = 0, 0

    def hire(self, waiting: int) -> None:
        """Start workers, so that there is one for every waiting trial, but not more than agreed."""
        idle = [number for number in range(self._count) if number not in self.working]
        for number in idle[:waiting]:
            self.working[number] = multiprocessing.get_context("spawn").Process(
                target=worker_process.start, args=(self._tasks[number],), daemon=True
            )
            self.working[number].start()

    def wait(self, seconds: float) -> None:
        """Wait until a worker ends, at most for this time."""
        if self.working:
            multiprocessing.connection.wait(
                [worker.sentinel for worker in self.working.values()], seconds
            )
        else:
            time.sleep(seconds)

    def dismiss(self, done: Callable[[], int], waiting: int) -> None:
        """Forget the workers that have ended.

        Args:
            done: the number of results so far.
            waiting: the number of trials that wait for a worker.

        Raises:
            UserError: workers are killed again and again, or find no trial although some wait, or
                one raised a `UserError`.
        """
        idle = False
        for number, worker in list(self.working.items()):
            if worker.is_alive():
                continue
            del self.working[number]
            if worker.exitcode:
                _require_killed(worker)
                self._count_end(done(), killed=True)
            idle = idle or not worker.exitcode
        if idle and waiting:  # once: a trial may be enqueued again as all workers end
            self._count_end(done(), killed=False)

    def _count_end(self, done: int, *, killed: bool) -> None:
        self._ended, self._done = (1, done) if done > self._done else (self._ended + 1, self._done)
        if self._ended <= DEATHS_IN_A_ROW:
            return
        if not killed:
            raise UserError(
                "workers find no trial in the storage, although some wait: were the images changed "
                f"while the search runs? Resume it with --resume {self._folder}"
            )
        raise UserError(
            "workers are killed repeatedly: use fewer of them, "
            f"with --resume {self._folder} --workers {max(1, self._count // 2)}"
        )

    def close(self) -> None:
        """End all workers."""
        for worker in self.working.values():
            worker.terminate()
        for worker in self.working.values():
            worker.join()


def on_device(settings: Search, worker: int) -> Search:
    """The settings of a worker: with several GPUs, worker i uses GPU i mod their number."""
    name, count = settings.common.device, torch.cuda.device_count()
    if count < 2 or name not in ("auto", "cuda"):
        return settings
    common = dataclasses.replace(settings.common, device=f"cuda:{worker % count}")
    return dataclasses.replace(settings, common=common)


def _require_killed(worker: BaseProcess) -> None:
    """Raise unless a signal ended the worker (a kill, or out of memory): that is no error here."""
    assert worker.exitcode is not None
    if worker.exitcode == 2:
        raise UserError("a worker stopped with the error above")
    if worker.exitcode > 0:
        raise RuntimeError(f"a worker failed with exit code {worker.exitcode}, see above")


def run_worker(task: worker_process.Task) -> None:
    """The main function of a worker process.

    SIGTERM and SIGHUP keep their default action and end it at once: there is nothing to clean up,
    and its trial is enqueued again. So it is if the device fails, which this process cannot use any
    more, but the next one can: the worker ends as if killed.
    """
    keep_freed_memory()
    common = task.settings.common
    set_determinism(common)
    device = choose_device(common.device)
    if device.index is not None:
        torch.cuda.set_device(device)  # for networks of the user that do not name a device
    try:
        with no_notes():
            experiment = Experiment.in_worker(
                task.settings, task.folder, task.begun, task.plan, task.space_sha256
            )
        with reaching(), closing(experiment.study()) as study:
            train_waiting(experiment.train, study, task.deadline)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except torch.OutOfMemoryError as error:  # not in a training, of which it is the result
        print(
            f"no memory for the images of a worker: {one_line(error)}: use fewer --workers, "
            f"with --resume {task.folder}",
            file=sys.stderr,
        )
        sys.exit(2)
    except torch.AcceleratorError as error:
        print(f"a worker ends: {device_failure(error)}", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
