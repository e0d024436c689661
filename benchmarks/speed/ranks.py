"""Run time of condensing in one process and in two processes of torchrun.

Command: `python -m benchmarks.speed.ranks`.

Each process has one thread. Both commands run alternately, in new processes and without the cache.
Their sets must be the same bytes. Rows are added to `results/ranks.csv`.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands import machine, run_module
from benchmarks.rows import RESULTS, Row, add_rows, spread
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import UserError
from condense.runs.io import file_sha256, read_json
from condense.runs.report import markdown_table
from condense.runs.run_dir import CONDENSED, SUMMARY, provenance
from condense.validation import at_least

FILE = "ranks.csv"
PROCESSES = 2
CONDENSE = (
    "condense run --method dsa --storage float32 --init real --preset cpu --evaluation.num-eval 0 "
    "--no-cache --quiet"
)
"""Whole images, initialised without herding: nearly all of the time is that of outer iterations."""


@dataclass(frozen=True)
class Ranks:
    """Measure what a second process is worth."""

    dataset: str = "cifar10"
    ipc: int = 10
    width: int = 128
    iterations: int = 2
    rounds: int = 3
    """Number of measurements of each command."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc", "width", "iterations", "rounds")

    @property
    def command(self) -> str:
        """The command, after `python -m` or `torchrun -m`."""
        chosen = f"--dataset {self.dataset} --ipc {self.ipc} --width {self.width}"
        return f"{CONDENSE} {chosen} --iterations {self.iterations}"


def condense(command: str, processes: int) -> tuple[float, str]:
    """Seconds of the condensation, and a hash of the set.

    Raises:
        UserError: the command fails.
    """
    launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    start = launcher if processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        run_module([*start, *shlex.split(command), "--out", str(out)], threads=1)
        return read_json(out / SUMMARY)["seconds"], file_sha256(out / CONDENSED)


def run(argv: list[str]) -> None:
    """Measure, print and save."""
    settings = read_flags(Ranks, argv, "python -m benchmarks.speed.ranks")
    seconds: dict[int, list[float]] = {1: [], PROCESSES: []}
    hashes = set()
    for _ in range(settings.rounds):
        for processes, values in seconds.items():
            value, found = condense(settings.command, processes)
            values.append(value)
            hashes.add(found)
    if len(hashes) > 1:
        raise UserError("the sets of one and of two processes differ")
    about = {"command": settings.command, "width": settings.width}
    software = {**machine(1), "commit": provenance()["commit"]}
    rows = [
        {**about, "processes": processes, "seconds": " ".join(map(str, values)), **software}
        for processes, values in seconds.items()
    ]
    path = RESULTS / FILE
    add_rows(path, rows)
    print(table(rows))


def table(rows: Iterable[Row]) -> str:
    """Seconds of each command by processes, and the speedup, paired by round."""
    commands: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        values = [float(value) for value in row["seconds"].split()]
        commands.setdefault((row["command"], row["width"]), {})[str(row["processes"])] = values
    lines = []
    for (_, width), seconds in commands.items():
        single, divided = seconds["1"], seconds[str(PROCESSES)]
        ratios = [one / two for one, two in zip(single, divided, strict=True)]
        speedup = f"{spread(ratios, digits=2)} (n = {len(ratios)})"
        lines.append([str(width), spread(single), spread(divided), speedup])
    return markdown_table(
        ["width", "1 process (s)", f"{PROCESSES} processes (s)", "speedup"], lines
    )


if __name__ == "__main__":
    main(run)
