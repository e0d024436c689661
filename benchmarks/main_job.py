"""The measurements behind the README: `python -m benchmarks.main_job`.

Runs every command of a list, each as a user would type it, and keeps what its run folder says
(settings, images, seed, version, time, figures) in results/main_job/NAME.json. Commands whose
result is there already are not run again, and one that was interrupted is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.commands import cores, machine, run_to_the_end
from condense.command_line import main, read_flags
from condense.files import write_json

STREAM = "--stream svhn-mnist-usps"
RESULTS = Path(__file__).parent / "results" / "main_job"
MEMORIES = ("random", "herding", "dc", "dsa")


@dataclass(frozen=True)
class MainJob:
    """Measure what the README quotes."""

    part: Literal["all", "mnist", "plain", "distilled", "small", "heads", "time"] = "all"
    """mnist: condensed sets of MNIST. plain, distilled: the four memories without and with
    distillation. small: DSA and herding with four times as many images of half the side. heads:
    DSA and herding with the other heads. time: the main job with an empty cache."""
    preset: str = "cpu"
    seeds: int = 3
    jobs: int = 1
    """Commands at a time; each has its share of the cores."""
    runs: Path = Path("runs/main_job")
    """Where the run folders go."""


def commands(settings: MainJob) -> Iterator[tuple[str, str, list[str]]]:
    """(part, name, arguments of python -m) of every command."""
    seeds = range(settings.seeds)
    for ipc, methods in ((1, ("random", "dsa")), (10, MEMORIES)):
        for method in methods:
            for seed in seeds:
                line = f"condense run --dataset mnist --method {method} --ipc {ipc} --seed {seed}"
                yield "mnist", f"mnist-{method}-{ipc}-s{seed}", line.split()
    for method in MEMORIES:
        for seed in seeds:
            line = f"condense run --dataset mnist --method {method} --ipc 10 --seed {seed}"
            bare = f"{line} --evaluation.augment none"
            yield "mnist", f"mnist-{method}-10-unaugmented-s{seed}", bare.split()
    for part, flag in (("plain", "no-distill"), ("distilled", "distill")):
        for memory in reversed(MEMORIES):
            for seed in seeds:
                line = f"{learn(memory, 1)} --{flag} --seed {seed}"
                yield part, f"domain-{memory}-{flag}-s{seed}", line.split()
    for flag in ("no-distill", "distill"):
        for memory in ("dsa", "herding"):
            for seed in seeds:
                line = f"{learn(memory, 2)} --{flag} --seed {seed}"
                yield "small", f"domain-{memory}-small-{flag}-s{seed}", line.split()
    for head in ("task", "class"):
        for memory in ("dsa", "herding"):
            line = f"{learn(memory, 1)} --no-distill --head {head}"
            yield "heads", f"{head}-{memory}-no-distill-s0", line.split()
    line = f"continual.run {STREAM} --memory dsa --no-cache"
    yield "time", "time-domain-dsa-s0", line.split()


def learn(memory: str, formation: int) -> str:
    """How the stream is learnt with a memory of 10 images per class, or of as many bytes."""
    return f"continual.run {STREAM} --memory {memory} --formation {formation}"


def measure(settings: MainJob, name: str, arguments: list[str]) -> None:
    """Run one command to its end and keep what it found.

    Raises:
        UserError: where the command fails.
    """
    result = RESULTS / settings.preset / f"{name}.json"
    if result.exists():
        return
    cores_each = max(1, cores() // settings.jobs)
    started = time.time()
    split = 1 + (arguments[0] == "condense")  # where the flags begin
    flags = [*arguments[split:], "--preset", settings.preset]
    out = settings.runs / settings.preset / name
    config, summary = run_to_the_end(arguments[:split], flags, out, cores_each)
    result.parent.mkdir(parents=True, exist_ok=True)
    line = f"python -m {' '.join(arguments)} --preset {settings.preset}"
    write_json(result, {"line": line, "machine": machine(cores_each), **config, "summary": summary})
    print(f"{name}: {time.time() - started:.0f} s", flush=True)


def run(argv: list[str]) -> None:
    """Run what has not been run."""
    settings = read_flags(MainJob, argv, "python -m benchmarks.main_job")
    chosen = [
        (name, arguments)
        for part, name, arguments in commands(settings)
        if settings.part in ("all", part)
    ]
    with ThreadPoolExecutor(settings.jobs) as pool:
        for measured in [pool.submit(measure, settings, *command) for command in chosen]:
            measured.result()


if __name__ == "__main__":
    main(run)
