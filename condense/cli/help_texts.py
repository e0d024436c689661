"""How `--help` shows the docstrings of settings."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import tyro
from docstring_parser import parse_from_object
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

JOINED = ConstructorRegistry()
"""Gives tyro the docstrings of the fields as single lines. It keeps line breaks before indented
lines, so the help would have those of the source code."""


@JOINED.struct_rule
def _with_joined_lines(about: StructTypeInfo) -> StructConstructorSpec | None:
    """A dataclass as tyro has it, except for the lines of the docstrings."""
    if not dataclasses.is_dataclass(about.type):
        return None
    types, texts = get_type_hints(about.type, include_extras=True), _texts(about.type)
    fields = (
        StructFieldSpec(
            field.name,
            types[field.name],
            _default(field, about.default),
            texts.get(field.name),
        )
        for field in dataclasses.fields(about.type)
    )
    return StructConstructorSpec(about.type, tuple(fields))


def _texts(kind: type) -> dict[str, str]:
    """The docstrings of the fields of a dataclass, those of its bases included."""
    texts: dict[str, str] = {}
    for owner in filter(dataclasses.is_dataclass, reversed(kind.__mro__)):
        about = parse_from_object(owner).params
        texts |= {field.arg_name: field.description for field in about if field.description}
    return {name: " ".join(text.split()) for name, text in texts.items()}


def _default(field: dataclasses.Field[Any], settings: Any) -> Any:
    """The value in `settings`; without these, the default of the field."""
    if dataclasses.is_dataclass(settings):
        return getattr(settings, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING_NONPROP if field.default is dataclasses.MISSING else field.default
