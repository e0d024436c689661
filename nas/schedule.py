"""In which order the architectures are trained, and with how many threads each.

The plan depends on the settings alone, not on the clock: the bits of a result depend on the number
of threads, and the same command gives the same bits.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plan:
    """What the workers of a search train.

    Attributes:
        order: the indices of the architectures, in training order.
        threads: the number of threads of each; without a number, those of its process.
    """

    order: Sequence[int]
    threads: Mapping[int, int] = field(default_factory=dict)


def planned(order: Sequence[int], costs: Mapping[int, float], workers: int, threads: int) -> Plan:
    """A plan for several workers: costly architectures first, so that all workers end together.

    The last ones have all threads: each has its share of the threads among those that are trained
    beside it, on average over its time.

    Args:
        order: the architectures; of equal ones, the first here is first in the plan.
        costs: their costs, in any unit.
        workers: the number of workers.
        threads: the number of threads of all workers together.
    """
    costly_first = sorted(order, key=lambda index: -costs[index])
    spans, ends = _simulated([costs[index] for index in costly_first], workers)
    return Plan(
        costly_first,
        {
            index: max(1, int(threads / _beside(span, ends)))
            for index, span in zip(costly_first, spans, strict=True)
        },
    )


def _simulated(
    costs: Sequence[float], workers: int
) -> tuple[list[tuple[float, float]], list[float]]:
    """Start and end of each task, and the end of each worker.

    A worker that is free takes the next task.
    """
    free = [0.0] * workers
    spans = []
    for cost in costs:
        start = heapq.heappop(free)
        heapq.heappush(free, start + cost)
        spans.append((start, start + cost))
    return spans, free


def _beside(span: tuple[float, float], ends: Sequence[float]) -> float:
    """How many workers are busy, on average over this time."""
    start, end = span
    if start == end:
        return len(ends)
    return sum(max(0.0, min(end, other) - start) for other in ends) / (end - start)
