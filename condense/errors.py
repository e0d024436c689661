"""What a user can mend, said in one line."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import re
import typing
from collections.abc import Iterable

LONGEST = 500
"""Characters of a message."""
LONGEST_WORD = 100
"""Characters of a word, such as a path or a number, in a message that would be too long."""

LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3e38
"""Above these nothing is counted or computed here: float32 ends there, and so do PyTorch's sizes
once they are multiplied."""


class UserError(Exception):
    """Something the user can mend; the message is one line that says what is wrong and how.

    Whatever it quotes, the message is one line of at most `LONGEST` characters that any terminal
    can show: control characters and bytes that are not UTF-8 are escaped, and what is too long is
    shortened in the middle.

    The command lines print it on stderr and exit with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(bounded(message))


class UnavailableError(UserError):
    """A data set that is not on disk and cannot be downloaded."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that is not known, with the known ones, nearest first."""
    name = shortened(name, LONGEST_WORD)
    choices = sorted(known, key=lambda choice: -_likeness(name, choice))
    return UserError(f"unknown {kind} {name!r}; known: {', '.join(choices)}")


def at_least(least: int, settings: object, *names: str) -> None:
    """Check that these settings, where they are set, are finite, not below `least` nor huge.

    Raises:
        UserError: naming the first that is.
    """
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not least <= value < math.inf:
            raise UserError(f"{_flag(name)} must be at least {least}, not {_short(value)}")
        at_most(
            LARGEST_INTEGER if isinstance(value, numbers.Integral) else LARGEST_FLOAT,
            settings,
            name,
        )


def at_most(most: float, settings: object, *names: str) -> None:
    """Check that these settings, where they are set, are not above `most`.

    Raises:
        UserError: naming the first that is.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value <= most:
            raise UserError(f"{_flag(name)} must be at most {most}, not {_short(value)}")


def check_values(settings: object) -> None:
    """Check that each setting is a value of its annotated type, which a library call may neglect.

    Numbers have to be numbers and those of a `Literal` one of its values; the command line sees to
    it, and to all other types, by itself.

    Raises:
        UserError: naming the first that is not.
    """
    for name, hint in typing.get_type_hints(type(settings)).items():
        value, said = getattr(settings, name), _flag(name)
        if value is None:
            continue
        types = typing.get_args(hint) or (hint,)
        if typing.get_origin(hint) is typing.Literal:
            if value not in types:
                raise unknown(said, str(value), types)
        elif int in types and not isinstance(value, numbers.Integral):
            raise UserError(f"{said} must be a whole number, not {_quoted(value)}")
        elif float in types and not isinstance(value, numbers.Real):
            raise UserError(f"{said} must be a number, not {_quoted(value)}")
        elif dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type, hint)):
            raise UserError(f"{said} must be a {types[0].__name__}, not {_quoted(value)}")


def one_line(reason: BaseException) -> str:
    """What an exception says, on one line of bearable length."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def bounded(message: str) -> str:
    """The message on one line of at most `LONGEST` characters, all of which can be written."""
    text = printable(message)
    if len(text) > LONGEST:
        text = re.sub(r"\S+", lambda word: shortened(word[0], LONGEST_WORD), text)
    return shortened(text, LONGEST)


def printable(text: str) -> str:
    """The text with control characters, and bytes that are not UTF-8, as Python escapes them."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == " " else repr(char)[1:-1] for char in text)


def shortened(text: str, longest: int) -> str:
    """The text with its middle left out where it is longer than that."""
    if len(text) <= longest:
        return text
    head = (longest - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _short(value: object) -> str:
    """A number; one of more digits than Python likes to write as about how many these are."""
    if isinstance(value, int) and value.bit_length() > 400:
        return f"a number of {value.bit_length() * 30103 // 100000 + 1} digits"
    return shortened(str(value), LONGEST_WORD)


def _quoted(value: object) -> str:
    return shortened(repr(value), LONGEST_WORD)


def _likeness(name: str, choice: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), choice.lower()).ratio()
