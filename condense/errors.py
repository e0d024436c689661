"""What a user can mend, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can mend; the message is one line that says what is wrong and how.

    The command lines print it on stderr and exit with code 2.
    """


class UnavailableError(UserError):
    """A data set that is not on disk and cannot be downloaded."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that is not known, with the known ones, nearest first."""
    choices = sorted(known, key=lambda choice: -_likeness(name, choice))
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(choices)}")


def _likeness(name: str, choice: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), choice.lower()).ratio()
