"""Running Python as users do: in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout."""

HANGS = 1800.0
"""Seconds after which a process hangs, however busy the machine is."""


def default_signals() -> None:
    """For a new process: `nohup` and the shell's `&` start processes that ignore some signals."""
    for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        signal.signal(number, signal.SIG_DFL)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=HANGS, preexec_fn=default_signals
    )


def workers_of(process: int) -> list[int]:
    """The worker processes of a search."""
    found = []
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        try:
            if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text():
                found.append(int(child))
        except OSError:
            continue  # it has just ended
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < HANGS
        time.sleep(0.02)


def at_work(*processes: subprocess.Popen[str], pause: float) -> Iterator[None]:
    """Steps of a loop with pauses of so many seconds, until all have ended; kills what hangs."""
    started = time.monotonic()
    while any(each.poll() is None for each in processes):
        if time.monotonic() - started > HANGS:
            for each in processes:
                each.kill()
            said = [each.communicate(timeout=HANGS)[1] for each in processes]
            raise AssertionError("\n".join([f"{processes[0].args} hangs", *map(str, said)]))
        time.sleep(pause)
        yield


def in_session(*leaders: int) -> list[int]:
    """The processes of the sessions that these have started, zombies aside."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        if int(fields[3]) in leaders and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
