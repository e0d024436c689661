"""How long commands take beside a process that keeps a core busy: `python -m benchmarks.busy`.

Each command runs in turn with PyTorch's default number of threads and with one, with nothing beside
it and beside one busy process, in fresh processes and without the cache. Rows go to
`results/busy.csv`.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS, read_rows, spread, write_rows
from condense import command_line

COMMANDS = (
    "condense run --dataset digits --outer 10 --preset smoke",
    "condense run --dataset mnist --ipc 10 --outer 2 --preset cpu --evaluation.networks 1",
)
FLAGS = ("--no-cache", "--quiet")


@dataclass(frozen=True)
class Busy:
    """Measure commands beside a busy process."""

    rounds: int = 3
    """How often each is measured; the conditions take turns within a round."""


@contextmanager
def busy_process(wanted: bool) -> Iterator[None]:
    """A process that computes without end beside the block, where wanted."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def seconds(command: str, threads: int) -> float:
    """How long a command takes in a process of its own, in a folder that is removed."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [*shlex.split(command), *FLAGS, "--out", str(Path(folder) / "run")]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return time.perf_counter() - started


def run(argv: list[str]) -> None:
    """Measure, print and keep."""
    settings = command_line.read_flags(Busy, argv, "python -m benchmarks.busy")
    conditions = list(product(COMMANDS, (cores(), 1), (False, True)))
    found: dict[tuple[str, int, bool], list[float]] = {each: [] for each in conditions}
    for _ in range(settings.rounds):
        for command, threads, beside in conditions:
            with busy_process(beside):
                found[command, threads, beside].append(seconds(command, threads))
    rows = []
    for (command, threads, beside), values in found.items():
        what = "one busy process" if beside else "nothing"
        print(f"{spread(values):>12} s, {threads} threads, {what} beside: {command}")
        measured = " ".join(f"{value:.2f}" for value in values)
        rows.append({"command": command, "beside": what, "seconds": measured, **machine(threads)})
    path = RESULTS / "busy.csv"
    write_rows(path, [*read_rows(path), *rows])


if __name__ == "__main__":
    command_line.main(run)
