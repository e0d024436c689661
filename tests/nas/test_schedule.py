from __future__ import annotations

import heapq
from collections.abc import Mapping

import pytest

from nas import convnets
from nas.cost import cost
from nas.schedule import Plan, planned
from tests.helpers.images import blobs

MILLISECONDS = {
    "d2-w64-leakyrelu-layer-max": 50,
    "d1-w128-relu-group-none": 31,
    "d3-w256-sigmoid-none-avg": 504,
    "d4-w32-leakyrelu-instance-avg": 23,
    "d4-w128-sigmoid-batch-max": 218,
    "d3-w32-relu-batch-none": 60,
    "d2-w256-relu-instance-max": 494,
    "d1-w64-leakyrelu-none-none": 15,
    "d2-w32-sigmoid-group-avg": 16,
    "d4-w256-sigmoid-layer-none": 4451,
    "d3-w128-relu-layer-avg": 136,
    "d1-w64-leakyrelu-batch-max": 24,
    "d3-w64-sigmoid-instance-none": 168,
    "d4-w32-relu-none-max": 20,
    "d1-w256-leakyrelu-group-avg": 55,
    "d2-w128-leakyrelu-none-none": 306,
    "d1-w32-sigmoid-layer-max": 15,
    "d4-w64-relu-group-avg": 43,
    "d3-w128-leakyrelu-instance-max": 142,
    "d2-w256-relu-batch-avg": 369,
    "d1-w128-sigmoid-instance-none": 37,
    "d3-w256-leakyrelu-group-max": 285,
    "d2-w64-sigmoid-batch-avg": 20,
    "d4-w32-relu-layer-none": 38,
    "d1-w256-relu-none-max": 35,
    "d3-w32-leakyrelu-batch-none": 60,
    "d4-w128-sigmoid-none-avg": 66,
    "d2-w64-sigmoid-group-none": 47,
    "d1-w64-relu-instance-avg": 14,
    "d2-w128-leakyrelu-layer-max": 135,
    "d4-w256-leakyrelu-instance-none": 3500,
    "d3-w32-sigmoid-group-max": 12,
    "d3-w64-relu-layer-avg": 24,
    "d2-w32-leakyrelu-none-avg": 11,
    "d1-w256-sigmoid-batch-none": 83,
    "d4-w128-relu-batch-max": 99,
}
"""Of a training step of the 36 architectures of the `cpu` preset: CIFAR-10 at 16×16, batches of 50,
one thread."""


def makespan(plan: Plan, durations: Mapping[int, float], workers: int) -> float:
    """The time until all is trained, if each free worker takes the next; a second thread is worth
    half of the first."""
    free = [0.0] * workers
    for index in plan.order:
        threads = plan.threads.get(index, 1)
        duration = durations[index] / (1 + 0.5 * (threads - 1))
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


@pytest.fixture(scope="module")
def costs() -> dict[int, float]:
    """The model's costs of the architectures that were measured."""
    space, data = convnets(), blobs(classes=10, per_class=1, shape=(3, 16, 16))
    return {
        space.names.index(name): cost(space, space.names.index(name), data) for name in MILLISECONDS
    }


@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_all_workers_end_together(costs: dict[int, float], workers: int) -> None:
    """Within 1.15 of the ideal, with the times that were measured and the order of the model."""
    space = convnets()
    durations = {space.names.index(name): float(ms) for name, ms in MILLISECONDS.items()}
    plan = planned(list(costs), costs, workers, threads=workers)
    ideal = max(
        sum(durations.values()) / workers,
        *(durations[index] / (1 + 0.5 * (plan.threads[index] - 1)) for index in durations),
    )
    assert makespan(plan, durations, workers) <= 1.15 * ideal


def test_a_plan_by_hand() -> None:
    """Two workers: 6 | 3, 2, 1 and all end at 6."""
    plan = planned([0, 1, 2, 3], {0: 1.0, 1: 6.0, 2: 2.0, 3: 3.0}, workers=2, threads=4)
    assert plan.order == [1, 3, 2, 0]
    assert plan.threads == dict.fromkeys(range(4), 2)


def test_what_is_alone_at_the_end_has_all_threads() -> None:
    """Three workers: 4 | 4 | 4, 2: the last one runs alone."""
    costs = {0: 4.0, 1: 4.0, 2: 4.0, 3: 2.0}
    assert planned([0, 1, 2, 3], costs, workers=3, threads=6).threads == {0: 2, 1: 2, 2: 2, 3: 6}
    assert planned([0, 1], {0: 9.0, 1: 1.0}, workers=2, threads=8).threads == {0: 7, 1: 4}


def test_more_workers_than_threads() -> None:
    assert set(planned(range(9), dict.fromkeys(range(9), 1.0), 4, 2).threads.values()) == {1, 2}


def test_equal_costs_keep_the_order() -> None:
    assert planned([5, 3, 4], {5: 0.0, 3: 0.0, 4: 0.0}, 2, 2).order == [5, 3, 4]
