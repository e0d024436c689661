"""Who is at work on which trial, and whether they are still alive.

A worker that is killed leaves its trial running for ever. In the run folder every worker holds a
lock of its own, which the operating system frees when the worker ends, however that comes about.
Over a database, where workers may be on other machines, they record heartbeats.
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
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 60
"""A worker that has not been heard of for so long is dead."""


class Leases:
    """What a study needs to know of its workers."""

    def claiming(self) -> AbstractContextManager[object]:
        """Held while trials are claimed or added."""
        raise NotImplementedError

    def sign(self, trial: FrozenTrial) -> None:
        """Says that this worker is about to claim `trial`."""
        raise NotImplementedError

    def holding(self, trial: FrozenTrial) -> AbstractContextManager[object]:
        """Held while `trial` is worked on."""
        raise NotImplementedError

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Fails those of the running trials whose workers are dead."""
        raise NotImplementedError

    def close(self) -> None:
        """This worker works no more."""


class LockLeases(Leases):
    """For workers on one machine: a lock for each in `folder`.

    Args:
        storage: of the study.
        folder: for the locks.
    """

    def __init__(self, storage: BaseStorage, folder: Path) -> None:
        self._storage = storage
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._name = secrets.token_hex(8)
        self._own = FileLock(self._path(self._name), timeout=0)
        self._own.acquire()

    def claiming(self) -> AbstractContextManager[object]:
        """One process at a time, by a lock."""
        return FileLock(self._folder / "claim", poll_interval=0.01)

    def sign(self, trial: FrozenTrial) -> None:
        """Leaves this worker's name."""
        self._storage.set_trial_user_attr(trial._trial_id, "worker", self._name)

    def holding(self, trial: FrozenTrial) -> AbstractContextManager[object]:
        """Nothing to do: the worker's own lock says it."""
        return nullcontext()

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Fails those whose workers are dead."""
        alive = {self._name}
        for trial in running:
            worker = str(trial.user_attrs.get("worker"))
            if worker not in alive and self._is_alive(worker):
                alive.add(worker)
            if worker not in alive:
                _fail(self._storage, trial)

    def close(self) -> None:
        """Frees this worker's lock."""
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


class HeartbeatLeases(Leases):
    """For workers that share a database.

    Args:
        storage: of the study, with heartbeats.
        study: the study.
    """

    def __init__(self, storage: RDBStorage, study: optuna.Study) -> None:
        self._storage = storage
        self._study = study
        file = storage.engine.url.database
        # SQLite does not lock the rows that it reads, so two workers could claim one trial.
        on_file = storage.engine.dialect.name == "sqlite" and file and file != ":memory:"
        self._lock = f"{file}.lock" if on_file else None

    def claiming(self) -> AbstractContextManager[object]:
        """By a lock where the database is a file; a server's rows have their own."""
        return FileLock(self._lock, poll_interval=0.01) if self._lock else nullcontext()

    def sign(self, trial: FrozenTrial) -> None:
        """Records the first heartbeat, before the claim: none is ever without."""
        self._storage.record_heartbeat(trial._trial_id)

    @contextmanager
    def holding(self, trial: FrozenTrial) -> Iterator[None]:
        """Records heartbeats."""
        done = Event()

        def beat() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                # A beat that is missed is made up for by the next.
                with suppress(optuna.exceptions.StorageInternalError):
                    self._storage.record_heartbeat(trial._trial_id)

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def fail_abandoned(self, running: Sequence[FrozenTrial]) -> None:
        """Fails those of which nothing has been heard for long."""
        if running:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)


def _fail(storage: BaseStorage, trial: FrozenTrial) -> None:
    # Somebody else may have found it abandoned at the same time.
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
