"""Paths given by users: on a command line, in the environment, as an argument."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from condense.errors import UserError
from condense.runs.io import is_text, reading


def user_path(given: str | os.PathLike[str], given_by: str) -> Path:
    """The path, with `~` expanded; it need not exist.

    Args:
        given: the path as given.
        given_by: its source, such as `--out` or `$CONDENSE_CACHE`.

    Raises:
        UserError: the path is invalid: too long, not UTF-8, a loop of links, in the home of an
            unknown user, or in a folder without access.
    """
    text = os.fspath(given)
    if not is_text(text):
        raise UserError(f"{given_by}: {text} is not UTF-8: choose another name")
    try:
        path = Path(text).expanduser()
        _look_at(path)
    except OSError as error:
        raise UserError(f"{given_by}: {text} cannot be used: {error.strerror or error}") from error
    except (ValueError, RuntimeError) as error:  # a NUL byte; the home of an unknown user
        raise UserError(f"{given_by}: {text} cannot be used: {error}") from error
    return path


def is_png(path: Path) -> bool:
    """Whether a path is named as a PNG file."""
    return path.suffix.lower() == ".png"


def check_png(path: Path, given_by: str) -> None:
    """Check that a picture can be written to a path: it is written as a PNG file.

    Args:
        path: the path.
        given_by: its source, as for `user_path`.

    Raises:
        UserError: it is not named as one.
    """
    if not is_png(path):
        raise UserError(f"{given_by}: {path} must end with .png, because pictures are PNG files")


def exists(path: Path) -> bool:
    """Whether the file or folder exists.

    Raises:
        UserError: the operating system rejects the path.
    """
    with reading(path):
        return path.exists()


def _look_at(path: Path) -> None:
    """Raise OSError or ValueError if the path is invalid; it need not exist."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        # A name may be too long although its folder does not exist yet.
        longest = max(path.parts, key=lambda part: len(os.fsencode(part)), default=".")
        with suppress(FileNotFoundError):
            Path(longest).lstat()
