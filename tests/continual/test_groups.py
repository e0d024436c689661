"""Codecs that the groups of a buffer share."""

from __future__ import annotations

import pytest
import torch

from condense import ImageData, load
from continual import CondensedBuffer, make_benchmark
from tests.helpers.buffers import agent


def with_small_classes(data: ImageData) -> ImageData:
    """At most 100 images of each class, and less than ten of the last three."""
    sizes = [100] * (data.classes - 3) + [9, 8, 8]
    members = zip(data.train_indices_by_class(), sizes, strict=True)
    return data.train_subset(torch.cat([rows[:size] for rows, size in members]))


@pytest.mark.parametrize("size", [20, 30, 40])
def test_a_restored_memory_of_small_classes_goes_on_as_before(size: int) -> None:
    """Some classes keep their real images, each with a codec of its own at first."""
    digits = load("digits")
    few = with_small_classes(digits.with_classes(range(5)))
    one, two = make_benchmark([few, digits.with_classes(range(5, 10))], "class").train_stream
    whole, restored = (CondensedBuffer(size, method="random", storage="dct") for _ in "ab")
    whole.post_adapt(agent(), one)
    restored.load_state_dict(whole.state_dict(), few)
    assert restored.bytes == whole.bytes
    for memory in (whole, restored):
        memory.post_adapt(agent(), two)
        tables = {kept.codec: kept.codec.table_bytes for kept in memory.groups.values()}
        stored = sum(kept.bytes for kept in memory.groups.values())
        assert memory.bytes == stored + sum(tables.values()) <= size * 64
    expected, found = whole.state_dict(), restored.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
