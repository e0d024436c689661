"""The two backends, each in its own process, in which their parts are timed."""

from __future__ import annotations

import math
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

from benchmarks.speed.problem import PartName, Speed

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.speed.backends import Backend
    from benchmarks.speed.roofline import Roofline

BACKENDS = ("reference", "engine")

SHORTEST = 0.25
"""A part is measured for at least this many seconds."""
PROJECTIONS = 16
"""Numbers by which the results of two backends are compared."""

_backend: list[Backend] = []
"""The backend of this process."""


def worker(backend: str, settings: Speed) -> ProcessPoolExecutor:
    """A new process for one backend."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, _prepare, (backend, settings))


def prepare(backend: str, threads: int) -> None:
    """Set PyTorch's number of threads and, for the engine, the memory setting of its commands."""
    if backend == "engine":
        from condense.system.allocator import keep_freed_memory

        keep_freed_memory()
    import torch

    torch.set_num_threads(threads)


def _prepare(backend: str, settings: Speed) -> None:
    prepare(backend, settings.threads)
    from benchmarks.speed.backends import Engine, Reference

    _backend[:] = [(Engine if backend == "engine" else Reference)(settings)]


def run(part: PartName, number: int, device: str) -> tuple[float, list[float]]:
    """Seconds of a part, and the projections of its results, for comparing the backends.

    The part is repeated for at least `SHORTEST` seconds, and the mean time is returned.
    """
    import torch

    from benchmarks.speed.roofline import synchronise

    times = 0
    synchronise(torch.device(device))
    started = time.perf_counter()
    while times == 0 or time.perf_counter() - started < SHORTEST:
        result = _backend[0].run(part, number)
        synchronise(torch.device(device))
        times += 1
    seconds = (time.perf_counter() - started) / times
    return seconds, projections(result)


def projections(tensors: Sequence[Tensor]) -> list[float]:
    """All numbers as one vector, projected on `PROJECTIONS` random directions, always the same.

    The squared distance of two vectors is the expected squared difference of a projection, so large
    results of two processes can be compared by a few numbers.
    """
    import torch

    draws = torch.Generator().manual_seed(0)
    sums = torch.zeros(PROJECTIONS, dtype=torch.float64)
    for tensor in tensors:
        numbers = tensor.detach().flatten().double().cpu()
        for place in range(PROJECTIONS):
            sums[place] += numbers @ torch.randn(len(numbers), generator=draws).double()
    return sums.tolist()


def relative_difference(plain: Sequence[float], ours: Sequence[float]) -> float:
    """The distance of two projected vectors, relative to the length of the first."""
    length = math.hypot(*plain)
    return math.dist(plain, ours) / length if length else math.hypot(*ours)


def roofline_of(settings: Speed) -> Roofline:
    """The roofline of the measured network."""
    from benchmarks.speed.roofline import measure
    from condense.models.build import build
    from condense.seeds import generator

    shape = (settings.channels, settings.size, settings.size)
    network = build(settings.matching().network, shape, settings.classes, generator(0))
    return measure(network.to(settings.device), shape, settings.batch_real)
