"""Validation of settings: ranges of numbers, and annotated types."""

from __future__ import annotations

import dataclasses
import math
import numbers
import operator
import typing

from condense.errors import LONGEST_WORD, UserError, shortened, unknown

LARGEST_INTEGER = 2**31 - 1
LARGEST_FLOAT = 3e38
"""Maximum values of settings: the limit of float32, and of PyTorch's sizes once multiplied."""
LOWEST_TEMPERATURE = 0.01
"""Logits divided by less could overflow; at this temperature soft labels are practically hard."""


def at_least(least: float, settings: object, *names: str) -> None:
    """Check that these settings, if not None, are finite, at least `least`, and not huge.

    Raises:
        UserError: otherwise; the message names the first invalid setting.
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
    """Check that these settings, if not None, are not above `most`.

    Raises:
        UserError: otherwise; the message names the first invalid setting.
    """
    for name in names:
        value = getattr(settings, name)
        if value is not None and not value <= most:
            raise UserError(f"{_flag(name)} must be at most {most}, not {_short(value)}")


def check_fraction(name: str, value: float) -> None:
    """Check that the value is above 0 and at most 1.

    Raises:
        UserError: otherwise; the message begins with the name.
    """
    if not 0 < value <= 1:
        raise UserError(f"{name} must be above 0 and at most 1, not {_short(value)}")


def check_values(settings: object) -> None:
    """Check that each setting has its annotated type; for calls from Python.

    Numbers must be numbers, a `Literal` must be one of its values, a dataclass must be of its
    class. The command line checks these and all other types itself.

    Raises:
        UserError: otherwise; the message names the first invalid setting.
    """
    for name, hint in typing.get_type_hints(type(settings)).items():
        value, said = getattr(settings, name), _flag(name)
        types = typing.get_args(hint) or (hint,)
        if value is None and type(None) in types:
            continue
        if typing.get_origin(hint) is typing.Literal:
            if value not in types:
                raise unknown(said, str(value), types)
        elif int in types and not isinstance(value, numbers.Integral):
            raise UserError(f"{said} must be a whole number, not {_quoted(value)}")
        elif float in types and not isinstance(value, numbers.Real):
            raise UserError(f"{said} must be a number, not {_quoted(value)}")
        elif dataclasses.is_dataclass(hint) and not isinstance(value, typing.cast(type, hint)):
            raise UserError(f"{said} must be a {types[0].__name__}, not {_quoted(value)}")


def require_class(name: str, value: object, kind: type) -> None:
    """Check that an argument is of this class; for calls from Python.

    Raises:
        UserError: otherwise; the message begins with the name of the argument.
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} must be {with_article(kind)}, not {with_article(type(value))}")


def whole_number(name: str, value: object) -> int:
    """The value as an integer, if it is one; for arguments of calls from Python.

    Raises:
        UserError: otherwise; the message begins with the name of the argument.
    """
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise UserError(f"{name} must be a whole number, not {_quoted(value)}") from error


def with_article(kind: type) -> str:
    """The name of a class with its article."""
    return f"{'an' if kind.__name__[0] in 'AEIOaeio' else 'a'} {kind.__name__}"


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _short(value: object) -> str:
    """The number as text; for a huge integer its approximate number of digits."""
    if isinstance(value, int) and value.bit_length() > 400:
        return f"a number of {value.bit_length() * 30103 // 100000 + 1} digits"
    return shortened(str(value), LONGEST_WORD)


def _quoted(value: object) -> str:
    return shortened(repr(value), LONGEST_WORD)
