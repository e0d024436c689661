"""Independent pieces of work on several threads, with the same bits for any number of threads.

PyTorch divides every operation among its threads. They wait for each other many times in a training
step, and they wait by spinning: one other busy process makes a step of a small network several
times slower. How sums are rounded depends on the number of threads, too. So on a CPU larger pieces
are divided instead: a part of a batch, or the images of some classes. One thread computes a piece,
the size of a piece does not depend on how many threads there are, and results come in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

PieceT = TypeVar("PieceT")
ResultT = TypeVar("ResultT")

_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("pool", default=None)
"""The pool of the block, and its number of threads."""


@contextmanager
def worker_threads(device: torch.device) -> Iterator[None]:
    """In this block `map_pieces` uses PyTorch's number of threads, and each operation uses one.

    `torch.set_num_threads` and `$OMP_NUM_THREADS` set that number, as everywhere in PyTorch. A
    block within another one, on a single thread, or for another device than the CPU, changes
    nothing.
    """
    threads = torch.get_num_threads()
    if threads == 1 or device.type != "cpu":
        yield
        return
    torch.set_num_threads(1)
    # New threads would begin with OpenMP's own number, not with the one just set.
    pool = ThreadPoolExecutor(threads, "pieces", initializer=lambda: torch.set_num_threads(1))
    token = _pool.set((pool, threads))
    try:
        yield
    finally:
        _pool.reset(token)
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


@contextmanager
def shared_operations() -> Iterator[None]:
    """Lets PyTorch's threads share each operation after all, for a batch that has no pieces."""
    current = _pool.get()
    if current is None:
        yield
        return
    torch.set_num_threads(current[1])
    try:
        yield
    finally:
        torch.set_num_threads(1)


def map_pieces(
    function: Callable[[PieceT], ResultT], pieces: Iterable[PieceT]
) -> Iterator[ResultT]:
    """`function` of each piece, in order; on several threads in a block of `worker_threads`.

    `function` may read what the threads share, such as the weights of a network, and must not write
    there. It runs with gradients switched on or off as they are for the caller.
    """
    current = _pool.get()
    if current is None:
        return map(function, pieces)
    gradients = torch.is_grad_enabled()  # each thread has a switch of its own

    def compute(piece: PieceT) -> ResultT:
        with torch.set_grad_enabled(gradients):
            return function(piece)

    return current[0].map(compute, pieces)
