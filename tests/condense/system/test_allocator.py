"""Freed memory that stays in the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from condense.system import allocator
from condense.system.allocator import freed_memory_kept, keep_freed_memory
from tests.helpers.processes import HANGS

Calls = list[tuple[str, int, int]]

FREED = """
import torch
from condense.system.allocator import freed_memory_kept

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20

before = resident()
with freed_memory_kept():
    blocks = [torch.ones(4 << 20) for _ in range(16)]  # 16 MB each
    del blocks
    within = resident() - before
print(within, resident() - before)
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of `mallopt`, in a process that does not keep memory yet."""
    found: Calls = []
    monkeypatch.setattr(allocator, "_blocks", 0)
    monkeypatch.setattr(allocator, "_libc", lambda *call: found.append(call))
    return found


def test_only_the_outermost_block_sets_and_resets(calls: Calls) -> None:
    with freed_memory_kept():
        kept = len(calls)
        with pytest.raises(KeyError), freed_memory_kept():
            raise KeyError
        assert len(calls) == kept > 0
    assert calls[-1] == ("malloc_trim", 0)
    assert {call[1] for call in calls[:kept]} < {call[1] for call in calls[kept:-1]}


def test_a_process_that_keeps_its_memory_goes_on_so(calls: Calls) -> None:
    keep_freed_memory()
    kept = len(calls)
    with freed_memory_kept():
        pass
    assert len(calls) == kept


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_the_memory_goes_back_at_the_end() -> None:
    found = subprocess.run(
        [sys.executable, "-c", FREED], capture_output=True, text=True, check=True, timeout=HANGS
    ).stdout
    within, after = map(int, found.split())
    assert within >= 256
    assert after < 64
