"""Errors that the user can fix, as one-line messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

LONGEST = 500
"""Maximum characters of a message."""
LONGEST_WORD = 100
"""Maximum characters of a word (a path, a number) in a message that is too long."""


class UserError(Exception):
    """An error that the user can fix; the message states the problem and the solution.

    The message is always one line of at most `LONGEST` characters that any terminal can display:
    control characters and bytes that are not UTF-8 are escaped, and long text is shortened in the
    middle.

    The command lines print it on stderr and exit with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message))


class UnavailableError(UserError):
    """A dataset is not on disk and cannot be downloaded."""


def unknown(kind: str, name: object, known: Iterable[str]) -> UserError:
    """An error for an unknown name; lists the known names, most similar first."""
    said = shortened(str(name), LONGEST_WORD)
    choices = sorted(known, key=lambda choice: -_likeness(said, choice))
    return UserError(f"unknown {kind} {said!r}; known: {', '.join(choices)}")


def one_line(reason: BaseException) -> str:
    """The message of an exception, as one line of at most 200 characters."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def bounded(message: str) -> str:
    """The message as one line of at most `LONGEST` printable characters."""
    text = printable(message)
    if len(text) > LONGEST:
        text = re.sub(r"\S+", lambda word: shortened(word[0], LONGEST_WORD), text)
    return shortened(text, LONGEST)


def printable(text: str) -> str:
    """The text with control characters and bytes that are not UTF-8 as Python escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)


def shortened(text: str, longest: int) -> str:
    """The text, without its middle if it is longer than `longest`."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def _likeness(name: str, choice: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), choice.lower()).ratio()
