"""The storage of a study: an Optuna journal in the run folder, or a database."""

from __future__ import annotations

import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, unquote_plus

import optuna
from optuna.storages import JournalStorage, RDBStorage
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError

from condense import UserError
from nas.chained_journal import ChainedJournal
from nas.liveness import GRACE_SECONDS, HEARTBEAT_SECONDS

JOURNAL = "study.log"
TRIES = 5
HIDDEN = "…"
"""Replaces the hidden parts of a URL."""
_HARMLESS = re.compile(r"[\w./\\ :~+,()-]*")
_OVERLAP = 4
"""A message with this many consecutive characters of a secret is not shown."""


def journal_storage(path: Path) -> JournalStorage:
    """The storage in the file `path`, which several processes of one machine may share.

    Raises:
        UserError: the file is damaged, or cannot be read or written.
    """
    try:
        return JournalStorage(ChainedJournal(path))
    except UserError:
        raise
    except Exception as error:  # the lines are intact, but Optuna cannot replay them
        raise UserError(
            f"{path} is damaged, or from another version of Optuna: delete it to restart the search"
        ) from error


def database_storage(url: str) -> RDBStorage:
    """The storage in a database.

    Raises:
        UserError: the database cannot be reached.
    """
    if url.endswith(HIDDEN):
        raise UserError(f"give --storage again: the run folder contains only {url}")
    for attempt in range(TRIES):
        try:
            return _open_database(url)
        except Exception as error:  # every driver has its own error classes
            # Another process that opens a new database at the same time may create its tables.
            in_the_making = "exists" in str(error) or isinstance(error, IntegrityError)
            if attempt < TRIES - 1 and in_the_making:
                time.sleep(0.5)
                continue
            raise _unreachable(url, _what_it_says(error, url)) from error
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
    """Convert a lost connection to the database into a `UserError`."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise UserError(
            "the connection to the storage is lost: continue with --resume later"
        ) from error


def without_secrets(url: str) -> str:
    """A URL that may be shown and saved.

    It contains the dialect, user, host, port and database. All other parts may be secret: the
    password is omitted, and the rest is replaced by `HIDDEN`.
    """
    parsed = _parsed(url)
    if parsed is None:
        scheme = re.match(r"[\w+]+://", url)
        return f"{scheme.group() if scheme else ''}{HIDDEN}"
    shown = URL.create(
        parsed.drivername,
        username=parsed.username,
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
    )
    text = shown.render_as_string()
    return f"{text}?{HIDDEN}" if "?" in _login_and_rest(url)[1] else text


def _parsed(url: str) -> URL | None:
    """The parts of a URL; None if they cannot be separated reliably."""
    try:
        parsed = make_url(url)
    except Exception:  # ArgumentError, or ValueError for a port that is not a number
        return None
    login, rest = _login_and_rest(url)
    parts = (parsed.username, parsed.host, parsed.database)
    # An unquoted password may contain separators, so its end is ambiguous.
    clear = "@" not in rest and not re.search("[/?]", login)
    return parsed if clear and all(_HARMLESS.fullmatch(part or "") for part in parts) else None


def _login_and_rest(url: str) -> tuple[str, str]:
    """Split a URL into the user with password, and the rest."""
    found = re.match(r"[\w+]+://(?:([^:/]*(?::[^@]*)?)@)?(.*)", url, re.DOTALL)
    return (found.group(1) or "", found.group(2)) if found else ("", url)


def _secrets(url: str) -> set[str]:
    """The password and all query values, both quoted and unquoted."""
    login, rest = _login_and_rest(url)
    pairs = [pair.partition("=") for pair in re.split("[&;]", rest.partition("?")[2])]
    values = [value if equals else key for key, equals, value in pairs]
    written = [login.partition(":")[2], *values]
    return {text for raw in written for text in (raw, unquote(raw), unquote_plus(raw)) if text}


def _what_it_says(error: Exception, url: str) -> str:
    """The first line of an error message; only the error's class if it may contain a secret."""
    line = next(iter(str(error).strip().splitlines()), "")
    if _parsed(url) is None:
        return f"{type(error).__name__}; odd characters in a URL are written %XX"
    fragments = (
        secret[start : start + _OVERLAP].lower()
        for secret in _secrets(url)
        for start in range(max(1, len(secret) - _OVERLAP + 1))
    )
    if not line or any(fragment in line.lower() for fragment in fragments):
        return type(error).__name__
    return line


def _unreachable(url: str, reason: str) -> UserError:
    return UserError(
        f"the storage {without_secrets(url)} cannot be reached: {reason}; "
        "give a database URL, such as sqlite:///study.db"
    )
