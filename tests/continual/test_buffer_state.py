"""A buffer as a `state_dict`, and back."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condense import generator, load
from continual import RandomBuffer, make_benchmark
from tests.helpers.buffers import BUFFERS, agent
from tests.helpers.tiny_streams import tasks


@pytest.mark.parametrize("kind", BUFFERS)
@pytest.mark.parametrize("store_logits", [False, True])
def test_a_memory_comes_back_from_its_tensors(kind: str, store_logits: bool) -> None:
    settings = {"images_per_class": 1, "factor": 2, "store_logits": store_logits}
    assert_restored(lambda: BUFFERS[kind](**settings), store_logits)


@pytest.mark.parametrize("store_logits", [False, True])
def test_a_memory_with_another_storage_comes_back(store_logits: bool) -> None:
    settings: Any = {"store_logits": store_logits, "storage": "dct"}
    assert_restored(lambda: RandomBuffer(40, **settings), store_logits)


def test_a_memory_in_which_some_images_are_pixels_comes_back() -> None:
    """Those for which a table would take too much of their share."""
    data, buffer, other = load("digits"), *(RandomBuffer(12, storage="dct") for _ in "ab")
    halves = [data.with_classes(range(start, start + 5)) for start in (0, 5)]
    for experience in make_benchmark(halves, "class").train_stream:
        buffer.post_adapt(agent(), experience)
    assert {kept.codec.name for kept in buffer.groups.values()} == {"dct", "pixels"}
    other.load_state_dict(buffer.state_dict(), data)
    assert torch.equal(other.samples.images, buffer.samples.images)
    assert other.bytes == buffer.bytes


def test_a_restored_memory_goes_on_as_before() -> None:
    one, two, three = make_benchmark(tasks(), "class").train_stream
    whole, part, restored = (RandomBuffer(40, storage="dct") for _ in range(3))
    for experience in (one, two, three):
        whole.post_adapt(agent(), experience)
    for experience in (one, two):
        part.post_adapt(agent(), experience)
    restored.load_state_dict(part.state_dict(), tasks()[0])
    restored.post_adapt(agent(), three)
    expected = whole.state_dict()
    found = restored.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def assert_restored(new: Any, store_logits: bool) -> None:
    buffer, data = new(), tasks()[0]
    for classes, experience in enumerate(make_benchmark(tasks(), "class").train_stream, 1):
        buffer.post_adapt(agent(), experience)
        if store_logits:
            buffer.update_logits(
                experience,
                lambda kept, classes=classes: torch.randn(
                    len(kept), 10 * classes, generator=generator(classes)
                ),
            )
    other = new()
    other.load_state_dict(dict(reversed(buffer.state_dict().items())), data)
    assert list(other.groups) == list(buffer.groups)
    assert other.bytes == buffer.bytes
    for name in ("images", "labels", "tasks"):
        assert torch.equal(getattr(other.samples, name), getattr(buffer.samples, name))
    assert store_logits == (buffer.samples.logits is not None)
    if not store_logits:
        assert other.buffer[0][0].dtype == buffer.buffer[0][0].dtype
    else:
        assert buffer.samples.logits.shape == (len(buffer.samples), 30)
        torch.testing.assert_close(other.samples.logits, buffer.samples.logits, equal_nan=True)
