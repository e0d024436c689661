"""Settings to JSON and back: what `--resume` rebuilds a command's dataclasses from."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from condense.errors import UserError
from condense.files import plain

SettingsT = TypeVar("SettingsT")


def record(settings: Any, without: Collection[str] = ()) -> dict[str, Any]:
    """A dataclass, with those nested in it, as JSON; paths are made absolute.

    Args:
        settings: the dataclass.
        without: fields to leave out wherever they are.
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


def departures(settings: Any) -> dict[str, Any]:
    """What of a dataclass, and of those nested in it, is not at its default, as JSON.

    Defaults are the published experiments' values, so this is what a preset and flags changed.
    """
    changed: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            changed.update({f"{field.name}.{k}": v for k, v in departures(value).items()})
        elif value != field.default:
            changed[field.name] = plain(value)
    return changed


def rebuild(like: SettingsT, kept: Mapping[str, Any], path: Path) -> SettingsT:
    """A dataclass like `like`, and of its very types, with the values that `record` gave.

    Args:
        like: says the types of nested dataclasses, and the values of what was left out.
        kept: from `record`.
        path: the file that `kept` is from, for errors.

    Raises:
        UserError: a setting that is not known, or whose value has another type.
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
        if dataclasses.is_dataclass(nested) and isinstance(value, dict):
            changes[name] = rebuild(nested, value, path)
            continue
        try:
            changes[name] = converter.structure(value, types[name])
        except Exception as error:  # cattrs has many kinds, in groups
            raise UserError(f"{path}: {name} cannot be {value!r}") from error
    return dataclasses.replace(like, **changes)  # type: ignore[type-var]
