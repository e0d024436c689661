"""Keep freed memory in the process, on Linux.

A training step frees its activations, and the next step allocates the same amount. In between,
glibc returns large blocks to the operating system, which then provides zeroed pages one page fault
at a time: this takes up to half of a step on a CPU. Results do not change.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # M_… of malloc.h
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: 64 << 20}
"""All blocks are from a heap that never shrinks."""
_USUAL = {
    _MMAP_MAX: 1 << 16,
    _MMAP_THRESHOLD: 32 << 20,
    _TRIM_THRESHOLD: 64 << 20,
    _TOP_PAD: 128 << 10,
}
"""The values of glibc; its two thresholds grow to these in a program that frees large blocks."""

_lock = Lock()
_blocks = 0
"""How many blocks keep memory at present, in all threads."""


def keep_freed_memory() -> None:
    """Keep freed memory until the process ends; no effect without glibc.

    `condense` and `evaluate` do so while they run, and give the memory back at their end.
    """
    _enter()


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep freed memory in this block, and give it back at its end. Also a decorator."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1:
            _set(_KEEPING)


def _leave() -> None:
    global _blocks
    with _lock:
        _blocks -= 1
        if _blocks == 0:
            _set(_USUAL)
            _libc("malloc_trim", 0)


def _set(values: dict[int, int]) -> None:
    for option, value in values.items():
        _libc("mallopt", option, value)


def _libc(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
    if function is not None:
        function(*arguments)
