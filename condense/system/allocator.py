"""Keep freed memory in the process, on Linux.

A training step frees its activations, and the next step allocates the same amount. In between,
glibc returns large blocks to the operating system, which then provides zeroed pages one page fault
at a time: on two CPU cores this takes up to a third of a step. Results do not change.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # of malloc.h


def keep_freed_memory() -> None:
    """Allocate large blocks from a heap that never shrinks; no effect without glibc."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
        mallopt(_M_TOP_PAD, 64 << 20)
