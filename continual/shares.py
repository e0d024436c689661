"""How the bytes of a memory are divided among classes and experiences."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

GroupT = TypeVar("GroupT", bound=Hashable)


@dataclass(frozen=True)
class Demand:
    """What a group of exemplars would fill.

    Attributes:
        owner: the class or the experience; all owners have equal shares, and so have the groups of
            one owner.
        images: number of images that are there.
        image_bytes: of one image.
        priority: of two groups with equal bytes, that with the smaller number comes first.
        table_bytes: of the group's share of a table, which are always used.
    """

    owner: tuple[int, ...]
    images: int
    image_bytes: int
    priority: float
    table_bytes: int = 0


def divide(total: int, demands: Mapping[GroupT, Demand]) -> dict[GroupT, int]:
    """Number of images of each group, together at most `total` bytes.

    Each group has the images that fit into its share. Of what is left one image at a time goes to
    the owner with the fewest bytes, there to the group with the fewest. So what a small group
    leaves goes to the others, and without enough bytes for one image of each group, those with the
    best priority have one.

    >>> groups = {"new": Demand(0, 5, 10, 0.5), "old": Demand(1, 2, 10, 0.1)}
    >>> divide(60, groups)
    {'new': 4, 'old': 2}
    >>> divide(10, groups)
    {'new': 0, 'old': 1}
    """
    sizes = Counter(demand.owner for demand in demands.values())
    counts, used = {}, {}
    for group, demand in demands.items():
        own = total // (len(sizes) * sizes[demand.owner]) - demand.table_bytes
        counts[group] = min(demand.images, max(0, own) // demand.image_bytes)
        used[group] = demand.table_bytes + counts[group] * demand.image_bytes
    _give_one_by_one(total - sum(used.values()), demands, counts, used)
    return counts


def _give_one_by_one(
    left: int, demands: Mapping[GroupT, Demand], counts: dict[GroupT, int], used: dict[GroupT, int]
) -> None:
    """Add images to `counts` until no further one fits into the bytes that are left."""
    queues: dict[tuple[int, ...], list[tuple[int, float, GroupT]]] = {}
    for group, demand in demands.items():
        heapq.heappush(queues.setdefault(demand.owner, []), (used[group], demand.priority, group))
    owners = [
        (sum(mine for mine, *_ in queue), queue[0][1], owner) for owner, queue in queues.items()
    ]
    heapq.heapify(owners)
    while owners:
        all_used, _, owner = heapq.heappop(owners)
        queue = queues[owner]
        mine, priority, group = heapq.heappop(queue)
        size = demands[group].image_bytes
        if counts[group] < demands[group].images and size <= left:
            counts[group] += 1
            left, all_used = left - size, all_used + size
            heapq.heappush(queue, (mine + size, priority, group))
        if queue:
            heapq.heappush(owners, (all_used, queue[0][1], owner))
