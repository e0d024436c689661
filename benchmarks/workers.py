"""The two sides in processes of their own, where their parts are timed."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.problem import Part, Speed

if TYPE_CHECKING:
    from benchmarks.floor import Floor
    from benchmarks.sides import Side

SIDES = ("literal", "engine")

SHORTEST = 0.25
"""Seconds that a part is measured for at least."""

_side: list[Side] = []
"""Of this process."""


def worker(side: str, settings: Speed) -> ProcessPoolExecutor:
    """A process of its own for one side."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, _prepare, (side, settings))


def prepare(side: str, threads: int) -> None:
    """Give this process PyTorch's threads, and the engine the memory setting of its commands."""
    if side == "engine":
        from condense.allocator import keep_freed_memory

        keep_freed_memory()
    import torch

    torch.set_num_threads(threads)


def _prepare(side: str, settings: Speed) -> None:
    prepare(side, settings.threads)
    from benchmarks.sides import Engine, Plain

    _side[:] = [(Engine if side == "engine" else Plain)(settings)]


def run(part: Part, number: int, device: str) -> tuple[float, float]:
    """Seconds that a part takes, and the norm of what it computes, by which sides are compared.

    What takes milliseconds is done again and again, `SHORTEST` in all, and the mean counts.
    """
    import torch

    from benchmarks.floor import synchronise

    times = 0
    synchronise(torch.device(device))
    started = time.perf_counter()
    while times == 0 or time.perf_counter() - started < SHORTEST:
        result = _side[0].run(part, number)
        synchronise(torch.device(device))
        times += 1
    seconds = (time.perf_counter() - started) / times
    return seconds, sum(float(x.detach().double().square().sum()) for x in result) ** 0.5


def floor_of(settings: Speed) -> Floor:
    """The floor of the network that is measured."""
    from benchmarks.floor import measure
    from condense.networks import build
    from condense.seeds import generator

    shape = (settings.channels, settings.size, settings.size)
    network = build(settings.matching().network, shape, settings.classes, generator(0))
    return measure(network.to(settings.device), shape, settings.real_batch)
