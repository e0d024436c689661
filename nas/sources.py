"""What decides which networks a function builds, as far as it can be seen from outside."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Iterable
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

_PLAIN = (str, bytes, int, float, complex, type(None))


def source_of(build: Any) -> str:
    """SHA-256 (hex) of the source file of a function or an object, and of all it was given.

    Besides the file these are the function's name and line, its defaults, the variables of an
    enclosing function, the arguments of a `functools.partial`, and the attributes of an object. A
    value without a description that is the same in every process counts by its class.
    """
    return hashlib.sha256(_described(build, ()).encode()).hexdigest()


def _described(value: Any, within: tuple[int, ...]) -> str:
    """The value in words; `within`: the ids of the values that contain it."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if id(value) in within:
        return "itself"
    inner = (*within, id(value))
    if isinstance(value, dict):
        return _all([part for item in value.items() for part in item], inner)
    if isinstance(value, tuple | list):
        return _all(value, inner)
    if isinstance(value, set | frozenset):
        return " ".join(sorted(_described(part, inner) for part in value))
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type | BuiltinFunctionType):
        return _place(value)
    if isinstance(value, FunctionType):
        line = value.__code__.co_firstlineno
        given = [value.__defaults__, value.__kwdefaults__, _enclosing(value)]
        return f"{_place(value)} line {line} {_all(given, inner)}"
    if isinstance(value, functools.partial):
        return _all(["partial", value.func, value.args, value.keywords], inner)
    if isinstance(value, MethodType):
        return _all([value.__func__, value.__self__], inner)
    return _all([type(value), getattr(value, "__dict__", None)], inner)


def _all(values: Iterable[Any], within: tuple[int, ...]) -> str:
    return f"({', '.join(_described(value, within) for value in values)})"


def _place(defined: Any) -> str:
    """A hash of the file, and the name in it; the full name if there is no file."""
    try:
        content = Path(inspect.getfile(defined)).read_bytes()
    except (OSError, TypeError):  # typed into an interpreter, or from a compiled module
        return f"{defined.__module__}.{defined.__qualname__}"
    return f"{hashlib.sha256(content).hexdigest()} {defined.__qualname__}"


def _enclosing(function: FunctionType) -> list[Any]:
    """The values of the variables that a function has from the functions around it."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # not yet assigned
            found.append(None)
    return found
