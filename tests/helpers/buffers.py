"""The three buffers with small settings, and a strategy for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from condense import ImageData, build, generator, method_named
from continual import (
    CondensedBuffer,
    HerdingBuffer,
    RandomBuffer,
    RehearsalBuffer,
    make_benchmark,
    with_heads,
)
from tests.helpers.tiny_streams import TINY_EEIL, tasks

SETTINGS = method_named("dsa").preset("smoke", iterations=1, network=TINY_EEIL.network)
BUFFERS: dict[str, Any] = {
    "random": RandomBuffer,
    "herding": HerdingBuffer,
    "condensed": lambda *args, **rest: CondensedBuffer(*args, settings=SETTINGS, **rest),
}
WHOLE = 3 * 16 * 16
"""Bytes of an image."""


def agent() -> Any:
    network = build(TINY_EEIL.network, (3, 16, 16), 10, generator(0, "network"))
    model = with_heads("domain", network)
    return SimpleNamespace(model=model, device=torch.device("cpu"))


def first() -> Any:
    """The first experience."""
    return make_benchmark(tasks()).train_stream[0]


def counts(buffer: RehearsalBuffer) -> list[int]:
    return [len(kept) for kept in buffer.groups.values()]


def few(data: ImageData, **left: int) -> ImageData:
    """The images without all but the first of some classes."""
    rows = data.train_indices_by_class()
    kept = [row[: left.get(f"class_{label}", len(row))] for label, row in enumerate(rows)]
    return data.train_subset(torch.cat(kept))
