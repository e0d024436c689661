"""Settings to JSON and back; `--resume` rebuilds the dataclasses of a command from JSON."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from condense.errors import UserError
from condense.runs.changes import Change
from condense.runs.io import plain

SettingsT = TypeVar("SettingsT")


def record(settings: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """A dataclass and its nested dataclasses as JSON; paths become absolute.

    Args:
        settings: the dataclass.
        without: names of fields to omit, at every level.
    """
    kept: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if field.name in without:
            continue
        if dataclasses.is_dataclass(value):
            kept[field.name] = record(value, without)
        else:
            kept[field.name] = plain(value.absolute() if isinstance(value, Path) else value)
    return kept


def overrides(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass and its nested dataclasses that differ from the default, as JSON.

    Defaults are the published values, so these are the changes by a preset and by flags.
    """
    return {change.name: plain(change.value) for change in differences(settings, type(settings)())}


def differences(settings: Any, base: Any, without: Collection[str] = ()) -> list[Change]:
    """The fields of a dataclass and its nested dataclasses that differ from those of `base`.

    Args:
        settings: the dataclass.
        base: one of the same type.
        without: names of fields to omit, at every level.
    """
    found: list[Change] = []
    for field in dataclasses.fields(settings):
        name, value, usual = field.name, getattr(settings, field.name), getattr(base, field.name)
        if name in without or value == usual:
            continue
        if dataclasses.is_dataclass(value) and type(value) is type(usual):
            inner = differences(value, usual, without)
            found += [change._replace(name=f"{name}.{change.name}") for change in inner]
        else:
            found.append(Change(name, usual, value))
    return found


def rebuild(like: SettingsT, kept: Mapping[str, Any], path: Path) -> SettingsT:
    """A dataclass of the same types as `like`, with the values returned by `record`.

    Args:
        like: gives the types of nested dataclasses and the values of omitted fields.
        kept: from `record`.
        path: the file of `kept`, for error messages.

    Raises:
        UserError: a setting is unknown, or its value has another type.
    """
    import cattrs

    converter = cattrs.Converter()
    converter.register_structure_hook(Path, lambda value, _: Path(value))
    types = typing.get_type_hints(type(like))
    changes: dict[str, Any] = {}
    for name, value in kept.items():
        if name not in types:
            raise UserError(f"{path}: unknown setting {name!r}; was it made by another version?")
        nested = getattr(like, name)
        if isinstance(value, dict) and dataclasses.is_dataclass(nested):
            changes[name] = rebuild(nested, value, path)
            continue
        try:
            if dataclasses.is_dataclass(nested) or (types[name] is Any and value is not None):
                raise TypeError("settings of a method are an object, or null")
            changes[name] = converter.structure(value, types[name])
        except Exception as error:  # cattrs raises many types, in groups
            raise UserError(f"{path}: {name} cannot be {value!r}") from error
    return dataclasses.replace(like, **changes)  # type: ignore[type-var]
