"""Free memory, so that work that does not fit is rejected immediately."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from condense.errors import UserError

_MEMINFO = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Bytes that can be allocated, limited by machine and container; None: unknown."""
    found = [size for size in (_of_machine(), _of_container()) if size is not None]
    return min(found, default=None)


def check_memory(needed: int, what: str) -> None:
    """Check that `needed` bytes can be allocated.

    Raises:
        UserError: they cannot; the message begins with `what`.
    """
    available = available_memory()
    if available is not None and needed > available:
        size, free = _gigabytes(needed), _gigabytes(available)
        raise UserError(f"{what} needs {size} of memory; {free} are free")


def _of_machine() -> int | None:
    with suppress(OSError, ValueError):
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):  # other systems: the total memory
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    """Bytes left of the cgroup v2 limit; the inactive file cache counts as free."""
    with suppress(OSError, ValueError, KeyError):
        most = int((_GROUP / "memory.max").read_text())  # "max" if there is no limit
        used = int((_GROUP / "memory.current").read_text())
        lines = (_GROUP / "memory.stat").read_text().splitlines()
        files = int(dict(line.split() for line in lines)["inactive_file"])
        return max(0, most - used + files)
    return None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
