"""Checks of names and paths from the user, which the operating system may reject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condense import UserError
from condense.runs.io import is_text


def exists(path: Path) -> bool:
    """Whether the file or folder exists.

    Raises:
        UserError: the system rejects the name.
    """
    with _touching(path):
        return path.exists()


def is_folder(path: Path) -> bool:
    """Whether the folder exists.

    Raises:
        UserError: the system rejects the name.
    """
    with _touching(path):
        return path.is_dir()


def read_text(path: Path) -> str:
    """The text of a file, with its line ends unchanged.

    Raises:
        UserError: it cannot be read, or is not a text file.
    """
    with _touching(path):
        if not path.is_file():  # reading from a pipe would block
            found = "it is not a file" if path.exists() else "there is no such file"
            raise UserError(f"cannot read {path}: {found}")
        with path.open(newline="", encoding="utf-8") as file:
            return file.read()


def check_text(name: str, text: object) -> None:
    """Check that a text can be written to a file.

    Raises:
        UserError: it contains bytes that are not UTF-8, as some old file names do.
    """
    if not is_text(str(text)):
        # The text is not quoted: it may contain a password.
        raise UserError(f"{name} contains bytes that are not UTF-8")


@contextmanager
def _touching(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error
