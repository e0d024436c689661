"""Which worker runs which trial, and whether it is still alive.

The trial of a killed worker would stay RUNNING forever. In the run folder, every worker holds its
own lock, which the operating system releases when the worker ends for any reason. With a database,
workers may be on other machines, so they record heartbeats.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Event, Thread

import optuna
from filelock import FileLock, Timeout
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from nas.database import GRACE_SECONDS, HEARTBEAT_SECONDS, Database
from nas.storage import SearchJournal


class Liveness:
    """Detects dead workers for a study."""

    def take(self, trial: FrozenTrial) -> bool:
        """Set a waiting trial to RUNNING for this worker; False if another one took it."""
        raise NotImplementedError

    def holding(self, trial: FrozenTrial) -> AbstractContextManager[object]:
        """A context held while `trial` is trained."""
        raise NotImplementedError

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Set the running trials of dead workers to FAIL."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the resources of this worker."""


class LockLiveness(Liveness):
    """For workers on one machine: one lock file per worker in `folder`.

    Args:
        storage: the study's storage.
        folder: the folder of the lock files.
    """

    def __init__(self, storage: SearchJournal, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = secrets.token_hex(8)
        self._own = FileLock(self._path(self._name), timeout=0)
        self._own.acquire()

    def take(self, trial: FrozenTrial) -> bool:
        """Take a trial and store this worker's name in it."""
        with self._storage.exclusive():
            try:
                taken = self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            except optuna.exceptions.UpdateFinishedTrialError:
                return False
            if taken:
                self._storage.set_trial_user_attr(trial._trial_id, "worker", self._name)
        return taken

    def holding(self, trial: FrozenTrial) -> AbstractContextManager[object]:
        """Nothing to do: the worker's lock shows that it is alive."""
        return nullcontext()

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Set the trials whose workers hold no lock to FAIL."""
        alive = {self._name}
        for trial in running:
            worker = str(trial.user_attrs.get("worker"))
            if worker not in alive and self._is_alive(worker):
                alive.add(worker)
            if worker not in alive:
                _fail(self._storage, trial)

    def close(self) -> None:
        """Release this worker's lock."""
        self._own.release()
        self._path(self._name).unlink(missing_ok=True)

    def _is_alive(self, worker: str) -> bool:
        probe = FileLock(self._path(worker), timeout=0)
        try:
            probe.acquire()
        except Timeout:
            return True
        probe.release()
        self._path(worker).unlink(missing_ok=True)
        return False

    def _path(self, worker: str) -> Path:
        return self._folder / f"{worker}.lock"


class HeartbeatLiveness(Liveness):
    """For workers that share a database.

    Args:
        storage: the study's storage.
        study: the study.
    """

    def __init__(self, storage: Database, study: optuna.Study) -> None:
        self._storage = storage
        self._study = study

    def take(self, trial: FrozenTrial) -> bool:
        """Take a trial and record its first heartbeat."""
        return self._storage.take(trial._trial_id)

    @contextmanager
    def holding(self, trial: FrozenTrial) -> Iterator[None]:
        """Record heartbeats."""
        done = Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                # A failed heartbeat does no harm: the next one follows.
                with suppress(optuna.exceptions.StorageInternalError, SQLAlchemyError):
                    self._storage.record_heartbeat(trial._trial_id)

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Set trials without a recent heartbeat to FAIL.

        While the database was away nobody could record a heartbeat, so all get time to do so.
        """
        if running and self._storage.retrying.seconds_reachable > GRACE_SECONDS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)


def _fail(storage: BaseStorage, trial: FrozenTrial) -> None:
    # Another worker may have set it to FAIL at the same time.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
