"""Where a study is kept: a journal in the run folder, or a database."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from filelock import FileLock
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from condense import UserError
from nas.leases import GRACE_SECONDS, HEARTBEAT_SECONDS

JOURNAL = "study.log"
TRIES = 5


def journal_storage(path: Path) -> JournalStorage:
    """The study in the file `path`, which several processes of one machine may share.

    Raises:
        UserError: the file is damaged.
    """
    lock = _ProcessLock(str(path))
    lock.acquire()
    try:
        _mend(path)
    finally:
        lock.release()
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{path} is damaged: delete it to begin the search anew") from error


def database_storage(url: str) -> RDBStorage:
    """The studies in a database.

    Raises:
        UserError: it cannot be reached.
    """
    for attempt in range(TRIES):
        try:
            return _open_database(url)
        except (ImportError, SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
            line = str(error).strip().splitlines()[0]
            # Others who open a new database at the same time may be the ones to make its tables.
            if attempt < TRIES - 1 and ("exists" in line or isinstance(error, IntegrityError)):
                time.sleep(0.5)
                continue
            raise UserError(
                f"the storage {without_password(url)} cannot be reached: {line}; "
                "it is given as a database URL, like sqlite:///study.db"
            ) from error
    raise AssertionError("the last try returns or raises")


def _open_database(url: str) -> RDBStorage:
    waiting = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(
            url,
            engine_kwargs=waiting,
            heartbeat_interval=HEARTBEAT_SECONDS,
            grace_period=GRACE_SECONDS,
        )


@contextmanager
def reaching() -> Iterator[None]:
    """Turns the loss of a database into what the user can mend."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise UserError(
            "the storage cannot be reached any more: go on with --resume when it can be"
        ) from error


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    scheme, slashes, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}{slashes}{login.partition(':')[0]}{at}{place}"


class _ProcessLock(JournalFileOpenLock):
    """Optuna's lock is a file that outlives a worker that is killed; this one goes with it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._held = FileLock(Path(path).with_name(f".{JOURNAL}.lock"), poll_interval=0.005)

    def acquire(self) -> bool:
        self._held.acquire()
        return True

    def release(self) -> None:
        self._held.release()


def _mend(path: Path) -> None:
    """Drop a last line that a full disk or a power cut has torn, lest the next be joined to it."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            os.fsync(file.fileno())
