"""The groups of exemplars in a buffer, and their bytes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from condense import Codec
from continual.stored import StoredExemplars


class Group(NamedTuple):
    """Key of the exemplars of one class of one experience."""

    experience: int
    task: int
    label: int


def whole_bytes(groups: Mapping[Group, StoredExemplars]) -> int:
    """Bytes of a whole image, 8 bits per number."""
    return math.prod(next(iter(groups.values())).codec.shape)


def table_share(codec: Codec, users: Mapping[Codec, int]) -> int:
    """Bytes of the table of a codec for each of the groups that use it."""
    return -(-codec.table_bytes // users[codec])


def table_bytes(groups: Mapping[Group, StoredExemplars]) -> int:
    """Bytes of the tables of the storage; the classes of a task share one."""
    tables: dict[tuple[int, int], int] = {}
    for group, kept in groups.items():
        task = group.experience, group.task
        tables[task] = max(tables.get(task, 0), kept.codec.table_bytes)
    return sum(tables.values())
