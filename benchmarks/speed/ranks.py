"""Run time of condensing in one process and in two processes of torchrun.

Command: `python -m benchmarks.speed.ranks`.

Each process has one thread. Both commands run alternately, in new processes and without the cache.
Their sets must be the same bytes. With `--reference` the reference implementation, with two
threads, makes the same iterations in turn with them. Rows are added to `results/ranks.csv`.
"""

from __future__ import annotations

import shlex
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchmarks.commands import machine, run_module
from benchmarks.rows import RESULTS, Row, add_rows, numbers, spread
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import UserError
from condense.runs.io import file_sha256, read_json
from condense.runs.report import markdown_table
from condense.runs.run_dir import CONDENSED, SUMMARY, provenance
from condense.validation import at_least

FILE = "ranks.csv"
PROCESSES = 2
REFERENCE = "reference"
"""In the place of the number of processes: Algorithm 1 in plain PyTorch, in one process with
`PROCESSES` threads."""
CONDENSE = (
    "condense run --method dsa --storage float32 --init real --evaluation.num-eval 0 --no-cache "
    "--quiet"
)
"""Whole images, initialised without herding: nearly all of the time is that of outer iterations."""


@dataclass(frozen=True)
class Ranks:
    """Measure what a second process is worth."""

    dataset: str = "cifar10"
    ipc: int = 10
    width: int = 128
    iterations: int = 2
    preset: Literal["cpu", "paper"] = "cpu"
    """paper: outer iterations of the paper's length."""
    reference: bool = False
    """Measure the reference implementation too."""
    rounds: int = 3
    """Number of measurements of each command."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc", "width", "iterations", "rounds")

    @property
    def command(self) -> str:
        """The command, after `python -m` or `torchrun -m`."""
        chosen = f"--dataset {self.dataset} --ipc {self.ipc} --width {self.width}"
        return f"{CONDENSE} --preset {self.preset} {chosen} --iterations {self.iterations}"


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


def reference_seconds(settings: Ranks) -> float:
    """Seconds of the same iterations in the reference implementation, with `PROCESSES` threads."""
    import torch

    from benchmarks.speed.reference import outer_iteration
    from condense.config.network import Network
    from condense.data.loading import load
    from condense.methods.gradient_matching import Matcher
    from condense.methods.registry import method_named

    torch.set_num_threads(PROCESSES)
    data, network = load(settings.dataset), Network(width=settings.width)
    sizes = {"ipc": settings.ipc, "iterations": settings.iterations}
    chosen = method_named("dsa").preset(
        settings.preset, storage="float32", init="real", network=network, **sizes
    )
    chosen = replace(chosen, network=network.for_images(data.shape))
    images = Matcher(data, chosen, seed=0).initial_images().requires_grad_()
    optimizer = torch.optim.SGD([images], chosen.lr_img, momentum=chosen.mom_img)
    began = time.perf_counter()
    for k in range(settings.iterations):
        outer_iteration(data, chosen, images, optimizer, 0, k)
    return time.perf_counter() - began


def run(argv: list[str]) -> None:
    """Measure, print and save."""
    settings = read_flags(Ranks, argv, "python -m benchmarks.speed.ranks")
    seconds: dict[str, list[float]] = {"1": [], str(PROCESSES): []}
    if settings.reference:
        seconds[REFERENCE] = []
    hashes = set()
    for _ in range(settings.rounds):
        for processes, values in seconds.items():
            if processes == REFERENCE:
                values.append(round(reference_seconds(settings), 1))
                continue
            value, found = condense(settings.command, int(processes))
            values.append(value)
            hashes.add(found)
    if len(hashes) > 1:
        raise UserError("the sets of one and of two processes differ")
    about = {"command": settings.command, "width": settings.width}
    commit = provenance()["commit"]
    rows = [
        {
            **about,
            "processes": processes,
            "seconds": " ".join(map(str, values)),
            **machine(PROCESSES if processes == REFERENCE else 1),
            "commit": commit,
        }
        for processes, values in seconds.items()
    ]
    path = RESULTS / FILE
    add_rows(path, rows)
    print(table(rows))


def table(rows: Iterable[Row]) -> str:
    """Seconds of each command by processes, and the speedups of two, paired by round."""
    commands: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        values = numbers(row["seconds"])
        commands.setdefault((row["command"], row["width"]), {})[str(row["processes"])] = values
    lines = []
    for (command, width), seconds in commands.items():
        divided = seconds[str(PROCESSES)]
        preset = "paper" if "--preset paper" in command else "cpu"
        cells = [spread(seconds.get(kind, [])) for kind in (REFERENCE, "1", str(PROCESSES))]
        speedups = [_speedup(seconds.get(kind), divided) for kind in ("1", REFERENCE)]
        lines.append([preset, str(width), *cells, *speedups])
    heads = [f"reference, {PROCESSES} threads (s)", "1 process (s)", f"{PROCESSES} processes (s)"]
    over = ["speedup over 1 process", "speedup over the reference"]
    return markdown_table(["preset", "width", *heads, *over], lines)


def _speedup(slow: list[float] | None, fast: list[float]) -> str:
    """Mean ± standard deviation of the ratios of each round."""
    if not slow:
        return ""
    ratios = [one / two for one, two in zip(slow, fast, strict=True)]
    return f"{spread(ratios, digits=2)} (n = {len(ratios)})"


if __name__ == "__main__":
    main(run)
