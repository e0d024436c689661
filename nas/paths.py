"""Names and paths that a user gives, which the system may refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from condense import UserError


def exists(path: Path) -> bool:
    """Whether there is such a file or folder.

    Raises:
        UserError: the system refuses the name.
    """
    with _touching(path):
        return path.exists()


def is_folder(path: Path) -> bool:
    """Whether there is such a folder.

    Raises:
        UserError: the system refuses the name.
    """
    with _touching(path):
        return path.is_dir()


def read_text(path: Path) -> str:
    """What is in a file, line ends as they are.

    Raises:
        UserError: it cannot be read, or is no file of text.
    """
    with _touching(path):
        if not path.is_file():  # a pipe would have us wait
            found = "it is no file" if path.exists() else "there is no such file"
            raise UserError(f"cannot read {path}: {found}")
        with path.open(newline="", encoding="utf-8") as file:
            return file.read()


def check_text(name: str, text: object) -> None:
    """Check that a text can be written to a file.

    Raises:
        UserError: it has bytes that are not UTF-8, as some old names of files do.
    """
    try:
        str(text).encode()
    except UnicodeEncodeError as error:
        # Not quoted: it may hold a password.
        raise UserError(f"{name} holds bytes that are not UTF-8") from error


@contextmanager
def _touching(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error
