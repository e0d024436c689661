"""Run time of commands while another process keeps a core busy.

Command: `python -m benchmarks.speed.busy`.

Each command runs with PyTorch's default number of threads and with one thread, alone and beside one
busy process, each time in a new process and without the cache. Rows are added to
`results/busy.csv`.
"""

from __future__ import annotations

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

from benchmarks.commands import ALONE, cores, machine, run_module
from benchmarks.rows import RESULTS, add_rows, spread
from condense.cli.app import main
from condense.cli.flags import read_flags

COMMANDS = (
    "condense run --dataset digits --iterations 10 --preset smoke",
    "condense run --dataset mnist --method dsa --storage float32 --iterations 2 --preset cpu "
    "--evaluation.num-eval 1 --evaluation.epoch-eval-train 300",
)
FLAGS = ("--no-cache", "--quiet")


@dataclass(frozen=True)
class Busy:
    """Measure commands while another process is busy."""

    rounds: int = 3
    """Number of measurements per condition; each round runs all conditions in turn."""


@contextmanager
def busy_process(wanted: bool) -> Iterator[None]:
    """If wanted, run an endless computation in another process during the block."""
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
    """Seconds of a command in a new process, with a temporary run folder."""
    with tempfile.TemporaryDirectory() as folder:
        alone = ALONE if command.startswith("condense run") else ()
        arguments = [*shlex.split(command), *FLAGS, *alone, "--out", str(Path(folder) / "run")]
        started = time.perf_counter()
        run_module(arguments, threads)
        return time.perf_counter() - started


def run(argv: list[str]) -> None:
    """Measure, print and save."""
    settings = read_flags(Busy, argv, "python -m benchmarks.speed.busy")
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
    add_rows(path, rows)


if __name__ == "__main__":
    main(run)
