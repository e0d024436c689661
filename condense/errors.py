"""What a user can mend, said in one line."""

from __future__ import annotations

import dataclasses
import difflib
import math
import numbers
import typing
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


def at_least(least: int, settings: object, *names: str) -> None:
    """Check that these settings, where they are set, are finite and not below `least`.

    Raises:
        UserError: naming the first that is.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not least <= value < math.inf:
            raise UserError(f"{name.replace('_', '-')} must be at least {least}, not {value}")


def check_values(settings: object) -> None:
    """Check that each setting is a value of its annotated type, which a library call may neglect.

    Numbers have to be numbers and those of a `Literal` one of its values; the command line sees to
    it, and to all other types, by itself.

    Raises:
        UserError: naming the first that is not.
    """
    for name, hint in typing.get_type_hints(type(settings)).items():
        value, said = getattr(settings, name), name.replace("_", "-")
        if value is None:
            continue
        types = typing.get_args(hint) or (hint,)
        if typing.get_origin(hint) is typing.Literal:
            if value not in types:
                raise unknown(said, str(value), types)
        elif int in types and not isinstance(value, numbers.Integral):
            raise UserError(f"{said} must be a whole number, not {value!r}")
        elif float in types and not isinstance(value, numbers.Real):
            raise UserError(f"{said} must be a number, not {value!r}")
        elif dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type, hint)):
            raise UserError(f"{said} must be a {types[0].__name__}, not {value!r}")


def one_line(reason: BaseException) -> str:
    """What an exception says, on one line of bearable length."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _likeness(name: str, choice: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), choice.lower()).ratio()
