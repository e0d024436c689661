"""Where a study is kept: a journal in the run folder, or a database."""

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
from nas.leases import GRACE_SECONDS, HEARTBEAT_SECONDS

JOURNAL = "study.log"
TRIES = 5
HIDDEN = "…"
"""Stands for what of a URL is not shown."""
_HARMLESS = re.compile(r"[\w./\\ :~+,()-]*")
_OVERLAP = 4
"""So many characters of a secret in a row give it away."""


def journal_storage(path: Path) -> JournalStorage:
    """The study in the file `path`, which several processes of one machine may share.

    Raises:
        UserError: the file is damaged, or cannot be read or written.
    """
    try:
        return JournalStorage(ChainedJournal(path))
    except UserError:
        raise
    except Exception as error:  # lines are as they were written, but Optuna cannot follow them
        raise UserError(
            f"{path} is damaged, or from another version of Optuna: delete it to begin "
            "the search anew"
        ) from error


def database_storage(url: str) -> RDBStorage:
    """The studies in a database.

    Raises:
        UserError: it cannot be reached.
    """
    if url.endswith(HIDDEN):
        raise UserError(f"give --storage again: the run's folder keeps no more of it than {url}")
    for attempt in range(TRIES):
        try:
            return _open_database(url)
        except Exception as error:  # every driver has kinds of its own
            # Others who open a new database at the same time may be the ones to make its tables.
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
    """Turns the loss of a database into what the user can mend."""
    try:
        yield
    except optuna.exceptions.StorageInternalError as error:
        raise UserError(
            "the storage cannot be reached any more: go on with --resume when it can be"
        ) from error


def without_secrets(url: str) -> str:
    """A URL as it may be shown and kept.

    That is its dialect, user, host, port and database. Of everything else nobody knows which of it
    is secret: a password is left out, and for any other part there is `HIDDEN`.
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
    """The parts of a URL; None where they cannot be told apart for certain."""
    try:
        parsed = make_url(url)
    except Exception:  # ArgumentError, and ValueError for a port that is no number
        return None
    login, rest = _login_and_rest(url)
    parts = (parsed.username, parsed.host, parsed.database)
    # A password that is not quoted may spill over into what follows it, and the other way round.
    clear = "@" not in rest and not re.search("[/?]", login)
    return parsed if clear and all(_HARMLESS.fullmatch(part or "") for part in parts) else None


def _login_and_rest(url: str) -> tuple[str, str]:
    """What of a URL is the user and password, and what follows them."""
    found = re.match(r"[\w+]+://(?:([^:/]*(?::[^@]*)?)@)?(.*)", url, re.DOTALL)
    return (found.group(1) or "", found.group(2)) if found else ("", url)


def _secrets(url: str) -> set[str]:
    """The password and all values of the query, as they are written and as they are meant."""
    login, rest = _login_and_rest(url)
    pairs = [pair.partition("=") for pair in re.split("[&;]", rest.partition("?")[2])]
    values = [value if equals else key for key, equals, value in pairs]
    written = [login.partition(":")[2], *values]
    return {text for raw in written for text in (raw, unquote(raw), unquote_plus(raw)) if text}


def _what_it_says(error: Exception, url: str) -> str:
    """An error's message in one line; only its kind where it may give a part of a secret away."""
    line = next(iter(str(error).strip().splitlines()), "")
    if _parsed(url) is None:
        return f"{type(error).__name__}; odd characters in a URL are written %XX"
    pieces = (
        secret[start : start + _OVERLAP].lower()
        for secret in _secrets(url)
        for start in range(max(1, len(secret) - _OVERLAP + 1))
    )
    if not line or any(piece in line.lower() for piece in pieces):
        return type(error).__name__
    return line


def _unreachable(url: str, reason: str) -> UserError:
    return UserError(
        f"the storage {without_secrets(url)} cannot be reached: {reason}; "
        "it is given as a database URL, like sqlite:///study.db"
    )
