"""A setting that a run changes."""

from __future__ import annotations

from typing import Any, NamedTuple


class Change(NamedTuple):
    """A setting that differs from the usual value, that of the preset or the published one."""

    name: str
    """Nested names with dots."""
    usual: Any
    value: Any
