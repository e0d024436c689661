"""Experiences whose classes have different numbers of images, or none."""

from __future__ import annotations

from typing import Any

import pytest

from condense import load
from continual import CondensedBuffer, HerdingBuffer, RandomBuffer, make_benchmark
from tests.helpers.buffers import BUFFERS, agent, few
from tests.helpers.tiny_streams import tasks

WHOLE = 3 * 16 * 16
"""Bytes of an image."""


@pytest.mark.parametrize("storage", ["pixels", "dct"])
@pytest.mark.parametrize("kind", [RandomBuffer, HerdingBuffer])
def test_what_small_new_classes_leave_goes_to_the_others(kind: Any, storage: Any) -> None:
    memory = kind(20, storage=storage)
    memory.post_adapt(
        agent(), make_benchmark([few(tasks()[0], class_0=1, class_1=1, class_2=1)]).train_stream[0]
    )
    kept = memory.samples.labels.bincount(minlength=10)
    assert kept[:3].tolist() == [1, 1, 1]
    assert kept[3:].min() >= 2
    assert memory.bytes > 0.9 * 20 * WHOLE


@pytest.mark.parametrize("kind", [RandomBuffer, HerdingBuffer])
def test_the_others_keep_more_images_than_a_small_class_has(kind: Any) -> None:
    """As DCT coefficients twelve images fit into the bytes of four whole ones."""
    for sizes in ({"max_size": 60}, {"images_per_class": 4}):
        memory = kind(**sizes, storage="dct")
        memory.post_adapt(
            agent(), make_benchmark([few(tasks()[0], class_0=1, class_3=3)]).train_stream[0]
        )
        kept = memory.samples.labels.bincount().tolist()
        assert kept == [1, 12, 12, 3, 12, 12, 12, 12, 12, 12]


@pytest.mark.parametrize("kind", [RandomBuffer, HerdingBuffer])
def test_small_images_of_a_small_class_leave_more(kind: Any) -> None:
    """Twelve small images fill three whole ones, and four of the others are there for each."""
    memory = kind(10, factor=2)
    data = tasks()[0].with_classes([0, 1])
    data = few(data.train_subset([*range(24), *range(12, 24)]), class_0=4)
    memory.post_adapt(agent(), make_benchmark([data]).train_stream[0])
    assert memory.samples.labels.bincount().tolist() == [4, 24]


@pytest.mark.parametrize("kind", ["random", "herding", "condensed"])
def test_a_class_of_a_task_without_images_has_no_exemplars(kind: str) -> None:
    for sizes in ({"max_size": 20}, {"images_per_class": 2}):
        memory = BUFFERS[kind](**sizes)
        stream = make_benchmark([few(tasks()[0], class_4=0), tasks()[1]], "class").train_stream
        memory.post_adapt(agent(), stream[0])
        assert {group.label for group in memory.groups} == {*range(10)} - {4}
        memory.post_adapt(agent(), stream[1])
        assert {group.label for group in memory.groups} == {*range(20)} - {4}


@pytest.mark.parametrize("sizes", [{"max_size": 50}, {"images_per_class": 5}])
def test_a_small_class_does_not_limit_the_condensed_set(sizes: Any) -> None:
    """It has as many images as its share has whole ones, of which more fit as coefficients."""
    memory = CondensedBuffer(**sizes, method="random", preset="smoke", storage="dct")
    data = load("digits")
    memory.post_adapt(agent(), make_benchmark([few(data, class_0=5)]).train_stream[0])
    first, *others = memory.samples.labels.bincount().tolist()
    assert first == 5
    assert min(others) > 10


def test_a_label_of_another_task_is_another_class() -> None:
    """Each of the 4 + 2 classes has an equal share, though tasks number theirs from 0."""
    first, second, *_ = tasks()
    parts = [first.with_classes([0, 1, 2, 3]), second.with_classes([0, 1])]
    memory = RandomBuffer(12)
    for experience in make_benchmark(parts, "task").train_stream:
        memory.post_adapt(agent(), experience)
    assert {len(kept) for kept in memory.groups.values()} == {2}
