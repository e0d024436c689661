"""Storage calls that are repeated while a database cannot be reached."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy import exc

from nas.urls import what_it_says, without_secrets

P = ParamSpec("P")
T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds between two tries; they double from one to the other."""


class StorageFailedError(StorageInternalError):
    """The database was away for too long, or refused a call; the message is for the user."""


class Retrying:
    """Calls functions that use a database, and repeats them while it cannot be reached.

    A call may have been carried out although its answer was lost, so it must be one that can be
    repeated.

    Args:
        url: of the database, for messages.
        seconds: after which a call is given up; 0: at once.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self._failed = -float("inf")

    @property
    def seconds_reachable(self) -> float:
        """The seconds since a call last failed."""
        return time.monotonic() - self._failed

    def __call__(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the call.

        Raises:
            StorageFailedError: the database was away for too long, or it refuses the call.
        """
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return call(*args, **kwargs)
            except StorageFailedError:
                raise  # from a call within this one
            except (StorageInternalError, exc.SQLAlchemyError) as error:
                cause = _cause(error)
                if not is_temporary(cause):
                    raise StorageFailedError(self._refused(cause)) from error
                self._failed = time.monotonic()
                left = began + self._seconds - self._failed
                if left <= 0:
                    raise StorageFailedError(self._away(cause)) from error
                if pause == FIRST_PAUSE:
                    self._announce(cause)
                time.sleep(min(pause, left))
                pause = min(2 * pause, LONGEST_PAUSE)

    def _announce(self, cause: BaseException) -> None:
        shown, reason = without_secrets(self._url), what_it_says(cause, self._url)
        print(
            f"the storage {shown} cannot be reached: {reason}; "
            f"trying again for {self._seconds:.0f} s",
            file=sys.stderr,
        )

    def _away(self, cause: BaseException) -> str:
        shown, reason = without_secrets(self._url), what_it_says(cause, self._url)
        return (
            f"the storage {shown} could not be reached for {self._seconds:.0f} s: {reason}; "
            "continue with --resume later"
        )

    def _refused(self, cause: BaseException) -> str:
        shown, reason = without_secrets(self._url), what_it_says(cause, self._url)
        return f"the storage {shown} reports an error: {reason}; continue with --resume"


def is_temporary(error: BaseException) -> bool:
    """Whether a call with this error may succeed later: the server is away, busy or starting."""
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    # The last follows one of the others, in a transaction whose connection is lost.
    return isinstance(
        error,
        exc.OperationalError | exc.InterfaceError | exc.TimeoutError | exc.PendingRollbackError,
    )


def _cause(error: BaseException) -> BaseException:
    """SQLAlchemy's error, which Optuna replaces by one that names no reason."""
    return error.__cause__ if isinstance(error.__cause__, exc.SQLAlchemyError) else error
