"""Paths that users give: on a command line, in the environment, to a function."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from condense.errors import UserError
from condense.files import is_text


def user_path(given: str | os.PathLike[str], given_by: str) -> Path:
    """The path, with `~` expanded; whether there is anything does not matter.

    Args:
        given: what the user gave.
        given_by: where, such as `--out` or `$CONDENSE_CACHE`.

    Raises:
        UserError: no file could have this path here: it is too long, not UTF-8, a loop of links,
            in the home of nobody, or in a folder that may not be looked into.
    """
    text = os.fspath(given)
    if not is_text(text):
        raise UserError(f"{given_by}: {text} is not UTF-8: choose another name")
    try:
        path = Path(text).expanduser()
        _look_at(path)
    except OSError as error:
        raise UserError(f"{given_by}: {text} cannot be used: {error.strerror or error}") from error
    except (ValueError, RuntimeError) as error:  # a NUL; the home of an unknown user
        raise UserError(f"{given_by}: {text} cannot be used: {error}") from error
    return path


def _look_at(path: Path) -> None:
    """OSError or ValueError where the system refuses the path; not where there is nothing."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        # A name may be too long in a folder that is still to be made.
        longest = max(path.parts, key=lambda part: len(os.fsencode(part)), default=".")
        with suppress(FileNotFoundError):
            Path(longest).lstat()
