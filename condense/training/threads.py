"""Independent chunks of work on several threads, bit-identical for any number of threads.

PyTorch divides every operation among its threads. The threads wait for each other many times in a
training step, by spinning: one other busy process makes a step of a small network several times
slower. The rounding of sums also depends on the number of threads. So on a CPU larger chunks of
work are distributed instead: part of a batch, or the images of some classes. Each chunk is computed
by one thread, its size does not depend on the number of threads, and results are returned in order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TypeVar

import torch

from condense.system.memory import available_memory
from condense.training.ranks import divided, share

THREAD_BYTES = 2 << 30
"""Memory for a thread: a chunk of `chunking.CPU_BYTES`, and as much for its gradients."""

ChunkT = TypeVar("ChunkT")
ResultT = TypeVar("ResultT")

_pool: ContextVar[tuple[ThreadPoolExecutor, int] | None] = ContextVar("pool", default=None)
"""The thread pool of the current block, and its number of threads."""


@contextmanager
def worker_threads(device: torch.device) -> Iterator[None]:
    """In this block `map_chunks` uses PyTorch's number of threads, and each operation uses one.

    `torch.set_num_threads` and `$OMP_NUM_THREADS` set that number, as always in PyTorch. There are
    no more threads than have `THREAD_BYTES` of free memory each. A nested block, a single thread,
    or a device other than the CPU changes nothing.
    """
    threads = torch.get_num_threads()
    with divided(device):
        if threads == 1 or device.type != "cpu":
            yield
            return
        torch.set_num_threads(1)
        # New threads would start with OpenMP's default, not with the number just set.
        workers = min(threads, _fitting_threads())
        pool = ThreadPoolExecutor(workers, "chunks", initializer=lambda: torch.set_num_threads(1))
        token = _pool.set((pool, threads))
        try:
            yield
        finally:
            _pool.reset(token)
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)


def _fitting_threads() -> int:
    free = available_memory()
    return max(1, free // THREAD_BYTES) if free is not None else sys.maxsize


@contextmanager
def shared_operations() -> Iterator[None]:
    """Let PyTorch use all threads for each operation, for a batch that cannot be split."""
    current = _pool.get()
    if current is None:
        yield
        return
    torch.set_num_threads(current[1])
    try:
        yield
    finally:
        torch.set_num_threads(1)


def map_chunks(
    function: Callable[[ChunkT], ResultT], chunks: Iterable[ChunkT]
) -> Iterator[ResultT]:
    """`function` of each chunk, in order; on several threads, and divided among the processes of
    torchrun, in a block of `worker_threads`.

    `function` may read shared data, such as the weights of a network, but must not write it. Grad
    mode is that of the caller.
    """
    current = _pool.get()
    if current is None:
        return iter(share(partial(map, function), chunks))
    gradients = torch.is_grad_enabled()  # grad mode is thread-local

    def compute(chunk: ChunkT) -> ResultT:
        with torch.set_grad_enabled(gradients):
            return function(chunk)

    return iter(share(partial(current[0].map, compute), chunks))
