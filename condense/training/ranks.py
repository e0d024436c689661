"""Work divided among the processes that torchrun starts (ranks).

Every rank runs the same command with the same random numbers. Where the work falls into independent
items, each rank computes some of them, and all get the results of all. What an item gives does not
depend on the number of ranks, so on CPUs the result is bit-identical to that of one process.

Results travel through gloo, on GPUs too: those of the matching are gradients of a few images.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from condense.errors import UserError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_device: ContextVar[torch.device | None] = ContextVar("device", default=None)
"""The device of the results in a block of `divided`."""

_alone: ContextVar[bool] = ContextVar("alone", default=False)
"""Whether this rank computes its part, in which nothing is divided."""

_joined = False


def join_ranks() -> None:
    """Connect to the other processes of torchrun.

    On a machine with several GPUs, each process uses another one as device `cuda`.

    Raises:
        UserError: the other processes cannot be reached.
    """
    global _joined
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    try:
        dist.init_process_group("gloo")
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes of torchrun cannot be connected: {error}") from error
    _joined = True


def leave_ranks() -> None:
    """Disconnect from the other processes."""
    global _joined
    if _joined:
        dist.destroy_process_group()
    _joined = False


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if _joined else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if _joined else 1


def wait_for_ranks() -> None:
    """Wait until every rank has come here.

    Raises:
        UserError: another rank has ended.
    """
    if _joined:
        with _explained():
            dist.barrier()


@contextmanager
def divided(device: torch.device) -> Iterator[None]:
    """In this block, which all ranks must run alike, `share` divides its items.

    Args:
        device: of the results.
    """
    main = threading.current_thread() is threading.main_thread()
    token = _device.set(device if _joined and main else None)
    try:
        yield
    finally:
        _device.reset(token)


def share(
    compute: Callable[[Iterable[ItemT]], Iterable[ResultT]], items: Iterable[ItemT]
) -> Iterable[ResultT]:
    """The results of all items, in order.

    Args:
        compute: the results of some items, in order: tensors, or tuples of tensors. In it nothing
            is divided further, unless there is only one item, which all ranks compute.
        items: the same in all ranks.

    Raises:
        UserError: another rank has ended.
    """
    device = _device.get()
    if device is None or _alone.get():
        return compute(items)
    every = list(items)
    if len(every) < 2:
        return compute(every)
    token = _alone.set(True)
    try:
        own = list(compute(every[rank() :: world_size()]))
    finally:
        _alone.reset(token)
    parts: list[list[ResultT]] = [[] for _ in range(world_size())]
    with _explained():
        dist.all_gather_object(parts, [_moved(found, torch.device("cpu")) for found in own])
    return [
        _moved(parts[number % len(parts)][number // len(parts)], device)
        for number in range(len(every))
    ]


def _moved(found: Any, device: torch.device) -> Any:
    """A result on another device, without the rest of the memory of which it may be a part."""
    if isinstance(found, Tensor):
        return found.detach().to(device, copy=True)
    return tuple(_moved(part, device) for part in found)


@contextmanager
def _explained() -> Iterator[None]:
    """Raise `UserError` where another rank has ended."""
    try:
        yield
    except RuntimeError as error:
        raise UserError(f"another process of torchrun has ended: {error}") from error
