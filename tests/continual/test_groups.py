"""Codecs that the groups of a buffer share."""

from __future__ import annotations

import pytest
import torch

from condense import UserError, load
from continual import CondensedBuffer, RandomBuffer, make_benchmark
from tests.helpers.buffers import agent, few


@pytest.mark.parametrize("size", [20, 30, 40])
def test_a_restored_memory_of_small_classes_goes_on_as_before(size: int) -> None:
    """Some classes keep their real images, each with a codec of its own at first."""
    digits = load("digits")
    small = few(
        digits.with_classes(range(5)), class_0=100, class_1=100, class_2=9, class_3=8, class_4=8
    )
    one, two = make_benchmark([small, digits.with_classes(range(5, 10))], "class").train_stream
    whole, restored = (CondensedBuffer(size, method="random", storage="dct") for _ in "ab")
    whole.post_adapt(agent(), one)
    restored.load_state_dict(whole.state_dict(), small)
    assert restored.bytes == whole.bytes
    for memory in (whole, restored):
        memory.post_adapt(agent(), two)
        tables = {kept.codec: kept.codec.table_bytes for kept in memory.groups.values()}
        stored = sum(kept.bytes for kept in memory.groups.values())
        assert memory.bytes == stored + sum(tables.values()) <= size * 64
    expected, found = whole.state_dict(), restored.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_classes_that_come_again_leave_the_images_of_others() -> None:
    """Their first group becomes too small for the table that all classes of the task share."""
    digits = load("digits")
    again = few(digits.with_classes([0, 1]), class_0=60, class_1=60)
    stream = make_benchmark([digits.with_classes(range(4)), *[again] * 16], "domain").train_stream
    memory = RandomBuffer(60, storage="dct")
    memory.post_adapt(agent(), stream[0])
    before = images_of(memory, 2)
    for experience in list(stream)[1:]:
        memory.post_adapt(agent(), experience)
        assert memory.bytes <= 60 * 64
    assert min(images_of(memory, label) for label in (2, 3)) >= before - 2
    assert min(images_of(memory, label) for label in (0, 1)) >= 15


def images_of(memory: RandomBuffer, label: int) -> int:
    """The number of images of a class."""
    return sum(len(kept) for group, kept in memory.groups.items() if group.label == label)


def test_images_of_another_size_are_refused() -> None:
    digits = load("digits")
    memory = RandomBuffer(20)
    memory.post_adapt(agent(), make_benchmark([digits.with_classes([0, 1])]).train_stream[0])
    before = memory.state_dict()
    larger = make_benchmark([digits.resized(16, 3).with_classes([2, 3])]).train_stream[0]
    with pytest.raises(UserError, match="not 16×16 with 3 channels and 8×8 with 1 channel"):
        memory.post_adapt(agent(), larger)
    assert memory.state_dict().keys() == before.keys()
