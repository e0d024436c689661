"""The storage of a study: an Optuna journal in the run folder, or a database."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError

from condense import UserError
from condense.distribution import install_extra
from nas.chained_journal import ChainedJournal
from nas.database import Database, Missing
from nas.retrying import Retrying, StorageFailedError, is_temporary
from nas.urls import HIDDEN, in_memory, what_it_says, without_secrets

JOURNAL = "study.log"
TRIES = 5
DRIVERS = {
    "postgresql": ("postgres", "postgresql+psycopg"),
    "mysql": ("mysql", "mysql+pymysql"),
    "mariadb": ("mysql", "mariadb+pymysql"),
}
"""The extra with a driver, and the URL's scheme for it, by the beginning of the URL."""


class SearchJournal(JournalStorage):
    """The studies in a file, which several processes of one machine may share."""

    def __init__(self, path: Path) -> None:
        self._file = ChainedJournal(path)
        super().__init__(self._file)

    def exclusive(self) -> AbstractContextManager[None]:
        """A lock on the file; what is written within the context is written at once."""
        return self._file.exclusive()

    def enqueue(self, study_id: int, missing: Missing) -> None:
        """Add trials, one process at a time.

        Args:
            study_id: the study.
            missing: from all its trials, those to add.
        """
        with self.exclusive():
            for trial in missing(self.get_all_trials(study_id, deepcopy=False)):
                self.create_new_trial(study_id, trial)

    def finish(
        self, trial_id: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        """Set the attributes, the values and then the state of a trial.

        Raises:
            UpdateFinishedTrialError: it is already finished.
        """
        with self.exclusive():
            for key, value in attrs.items():
                self.set_trial_user_attr(trial_id, key, value)
            self.set_trial_state_values(trial_id, state, values)


def journal_storage(path: Path) -> SearchJournal:
    """The storage in the file `path`.

    Raises:
        UserError: the file is damaged, or cannot be read or written.
    """
    try:
        return SearchJournal(path)
    except UserError:
        raise
    except Exception as error:  # the lines are intact, but Optuna cannot replay them
        raise UserError(
            f"{path} is damaged, or from another version of Optuna: delete it to restart the search"
        ) from error


def database_storage(url: str, patience: float = 0.0) -> Database:
    """The storage in a database.

    Args:
        url: of the database.
        patience: seconds for which a database that cannot be reached is tried again, now and in
            every later call.

    Raises:
        UserError: the database cannot be reached.
    """
    if HIDDEN in url:
        raise UserError(f"give --storage again: the run folder contains only {url}")
    if in_memory(url):
        raise UserError(
            f"the storage {url} is in the memory of one process: give it a file, such as "
            "sqlite:///study.db"
        )
    for attempt in range(TRIES):
        try:
            return _open_database(url, patience)
        except Exception as error:  # every driver has its own error classes
            # Another process that opens a new database at the same time may create its tables.
            cause = error.__cause__ if isinstance(error, StorageFailedError) else error
            in_the_making = "exists" in str(cause) or isinstance(cause, IntegrityError)
            if attempt < TRIES - 1 and in_the_making:
                time.sleep(0.5)
                continue
            raise _unreachable(url, error) from error
    raise AssertionError("the last try returns or raises")


def _open_database(url: str, patience: float) -> Database:
    return Retrying(url, patience)(Database, url, patience) if patience else Database(url)


def _unreachable(url: str, error: Exception) -> UserError:
    if isinstance(error, StorageFailedError):
        return UserError(str(error))
    reason, mend = what_it_says(error, url), "give a database URL, such as sqlite:///study.db"
    driver = next((DRIVERS[name] for name in DRIVERS if url.startswith(name)), None)
    if isinstance(error, ImportError) and driver:
        extra, scheme = driver
        reason, mend = "its driver is not installed", install_extra(extra)
        if not url.startswith(f"{scheme}:"):
            mend += f", and give {scheme}://…"
    elif url.startswith("sqlite"):
        mend = "check that its folder exists and is writable"
    elif is_temporary(error):
        mend = "check that it is running, and give its whole URL with --storage"
    return UserError(f"the storage {without_secrets(url)} cannot be reached: {reason}; {mend}")


@contextmanager
def reaching() -> Iterator[None]:
    """Convert an error of the database into a `UserError`."""
    try:
        yield
    except StorageFailedError as error:
        raise UserError(str(error)) from error
