"""Database URLs: made absolute, and shown without their secrets."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, unquote_plus

from sqlalchemy.engine import URL, make_url

HIDDEN = "…"
"""Replaces the hidden parts of a URL."""
_HARMLESS = re.compile(r"[\w./\\ :~+,()-]*")
_OVERLAP = 4
"""A message with this many consecutive characters of a secret is not shown."""


def absolute(url: str) -> str:
    """The URL, with an absolute path if it is a file, so that it is found from any folder."""
    try:
        parsed = make_url(url)
    except Exception:  # no URL: the error is reported when it is opened
        return url
    file = parsed.database
    if parsed.get_backend_name() != "sqlite" or not file or file.startswith((":", "file:")):
        return url
    return parsed.set(database=str(Path(file).absolute())).render_as_string(hide_password=False)


def in_memory(url: str) -> bool:
    """Whether this is an SQLite database without a file, which every process has for itself."""
    parsed = _parsed(url)
    if parsed is None or parsed.get_backend_name() != "sqlite":
        return False
    file = parsed.database or ":memory:"
    return ":memory:" in file or "mode=memory" in url


def without_secrets(url: str) -> str:
    """A URL that may be shown and saved.

    It contains the dialect, user, host, port and database. All other parts may be secret: the
    password and the rest are replaced by `HIDDEN`.
    """
    parsed = _parsed(url)
    if parsed is None:
        scheme = re.match(r"[\w+]+://", url)
        return f"{scheme.group() if scheme else ''}{HIDDEN}"
    shown = URL.create(
        parsed.drivername,
        username=parsed.username,
        password=None if parsed.password is None else "***",
        host=parsed.host,
        port=parsed.port,
        database=parsed.database,
    )
    text = shown.render_as_string().replace(":***@", f":{HIDDEN}@")
    return f"{text}?{HIDDEN}" if "?" in _login_and_rest(url)[1] else text


def what_it_says(error: BaseException, url: str) -> str:
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
