"""The groups of exemplars in a buffer, and their bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from condense import Codec, UserError
from condense.data.image_tensors import shape_text
from condense.storage.codecs import Shape
from continual.stored import StoredExemplars


class Group(NamedTuple):
    """Key of the exemplars of one class of one experience."""

    experience: int
    task: int
    label: int


def whole_bytes(groups: Mapping[Group, StoredExemplars]) -> int:
    """Bytes of a whole image, 8 bits per number."""
    return math.prod(next(iter(groups.values())).codec.shape)


def require_shape(groups: Mapping[Group, StoredExemplars], shapes: Iterable[Shape]) -> None:
    """Check that new images have the shape of those in the memory, and all the same one.

    Raises:
        UserError: otherwise.
    """
    kept = {kept.codec.shape for kept in groups.values()}
    if len(found := kept.union(shapes)) > 1:
        several = " and ".join(sorted(map(shape_text, found)))
        raise UserError(f"the images of a memory have one shape, not {several}")


def table_share(codec: Codec, users: Mapping[Codec, int]) -> int:
    """Bytes of the table of a codec for each of the groups that use it."""
    return -(-codec.table_bytes // users[codec])


def table_bytes(groups: Mapping[Group, StoredExemplars]) -> int:
    """Bytes of the tables of the storage; groups that share a codec share its table."""
    return sum(codec.table_bytes for codec in {kept.codec for kept in groups.values()})


def with_shared_codecs(groups: Mapping[Group, StoredExemplars]) -> dict[Group, StoredExemplars]:
    """The groups; those of a task whose tables are the same share one codec.

    A buffer that was loaded from its tensors has the same codecs as before.
    """
    shared: dict[Group, StoredExemplars] = {}
    distinct: dict[tuple[int, int], list[StoredExemplars]] = {}
    for group, kept in groups.items():
        of_task = distinct.setdefault((group.experience, group.task), [])
        like = next((other for other in of_task if kept.like(other)), None)
        if like is None:
            of_task.append(kept)
        shared[group] = kept if like is None else kept.with_codec_of(like)
    return shared
