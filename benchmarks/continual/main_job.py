"""The measurements of docs/results.md: `python -m benchmarks.continual.main_job`.

Runs every command of a list as a user would, and writes the contents of its run folder (settings,
images, seed, version, time, results) to results/main_job/PRESET/NAME.json. Commands with a result
are skipped; interrupted ones are resumed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from benchmarks import rows
from benchmarks.commands import as_published, cores, machine, run_to_the_end
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.io import write_json
from continual.settings import BALANCED_REPLAY, EEIL_REPLAY, SELECTION_METHODS, ReplayConfig

STREAM = "--stream svhn-mnist-usps"
RESULTS = rows.RESULTS / "main_job"
Memory = Literal["random", "herding", "dc", "dsa"]
MEMORIES: tuple[Memory, ...] = get_args(Memory)
FACTOR_2 = ReplayConfig(factor=2, store_logits=True, batch_size_mem=64)
REPLAYS = {
    "factor-1": (EEIL_REPLAY, MEMORIES),
    "factor-2": (ReplayConfig(factor=2), ("herding", "dsa")),
    "factor-2-balanced": (FACTOR_2, ("herding", "dc", "dsa")),
    "factor-2-balanced-iterations-100": (FACTOR_2, ("dc", "dsa")),
    "factor-2-balanced-depth-2": (FACTOR_2, ("dc", "dsa")),
    "factor-3-balanced": (replace(FACTOR_2, factor=3), ("herding",)),
    "factor-1-iterations-100": (EEIL_REPLAY, ("dsa",)),
    "dct-balanced": (BALANCED_REPLAY, ("dsa", "herding", "dc", "random")),
}
"""For each part: the replay settings, and the memories. `balanced`: half of each batch is from the
memory; with a factor also logits."""

DEPTH_3: dict[str, float] = {"lr_img": 3.0, "network.depth": 3}
"""Images with a factor condensed like full-size ones (the first default)."""

CONDENSING: dict[str, dict[str, float]] = {
    "factor-2": DEPTH_3,
    "factor-2-balanced": DEPTH_3,
    "factor-2-balanced-iterations-100": {**DEPTH_3, "iterations": 100},
    "factor-1-iterations-100": {"iterations": 100, "lr_img": 1.0, "lr_net": 0.05},
}
"""For each part: settings of condensation other than the default. The default is 20 iterations in
the cpu preset; the paper has 1000."""


@dataclass(frozen=True)
class MainJob:
    """Run the measurements of docs/results.md."""

    part: Literal[
        "all",
        "mnist",
        "factor-1",
        "factor-2",
        "factor-2-balanced",
        "factor-2-balanced-iterations-100",
        "factor-2-balanced-depth-2",
        "factor-3-balanced",
        "factor-1-iterations-100",
        "dct-balanced",
        "heads",
        "time",
    ] = "all"
    """mnist: condensed sets of MNIST. factor-1: the four memories with EEIL's replay (no logits).
    factor-2: DSA and herding. factor-2-balanced: herding, DC and DSA with logits and balanced
    batches; condensed at full depth, as in factor-2. factor-2-balanced-iterations-100: DC and DSA.
    factor-2-balanced-depth-2: DC and DSA with default condensation (lower lr_img).
    factor-3-balanced: herding. factor-1-iterations-100: DSA with lower learning rates.
    dct-balanced: all four with default settings. heads: DSA and herding with heads
    task and class. time: the main job without cache."""
    memory: tuple[Memory, ...] = MEMORIES
    """Memories to measure: random, herding, dc, dsa."""
    distill: tuple[bool, ...] = (False, True)
    """Streams with one head: without distillation, with it, or both."""
    preset: str = "cpu"
    seeds: int = 3
    first: int = 0
    """First seed."""
    jobs: int = 1
    """Number of parallel commands; the cores are divided among them."""
    runs: Path = Path("runs/main_job")
    """Parent of the run folders."""


def commands(settings: MainJob) -> Iterator[tuple[str, str, list[str]]]:
    """(part, name, arguments of python -m) of every command."""
    seeds = range(settings.first, settings.first + settings.seeds)
    for ipc, methods in ((1, ("random", "dc", "dsa")), (10, MEMORIES)):
        for method in chosen(settings, methods):
            for seed in seeds:
                line = f"condense run --dataset mnist --method {method} --ipc {ipc} --seed {seed}"
                yield "mnist", f"mnist-{method}-{ipc}-s{seed}", line.split()
    for method in chosen(settings, MEMORIES):
        for seed in seeds:
            line = f"condense run --dataset mnist --method {method} --ipc 10 --seed {seed}"
            unaugmented = f"{line} --evaluation.augment none"
            yield "mnist", f"mnist-{method}-10-unaugmented-s{seed}", unaugmented.split()
    for part, (replay, memories) in REPLAYS.items():
        for distill in settings.distill:
            for memory in chosen(settings, memories):
                more = "" if memory in SELECTION_METHODS else condensing_flags(part)
                for seed in seeds:
                    flag = "distill" if distill else "no-distill"
                    line = f"{train(memory)} {flags(replay)}{more} --{flag} --seed {seed}"
                    name = stream_name("domain", memory, distill, part)
                    yield part, f"{name}-s{seed}", line.split()
    for head in ("task", "class"):
        for memory, replay in (("dsa", FACTOR_2), ("herding", EEIL_REPLAY)):
            if memory not in settings.memory:
                continue
            line = f"{train(memory)} {flags(replay)} --no-distill --head {head}"
            yield "heads", f"{stream_name(head, memory, False)}-s0", line.split()
    yield "time", "time-domain-dsa-s0", f"{train('dsa')} --no-cache".split()


def stream_name(head: str, memory: str, distill: bool, part: str = "factor-1") -> str:
    """Name of the runs of a part, without their seed; `heads` has the names of factor-1."""
    named = memory if part == "factor-1" else f"{memory}-{part}"
    return f"{head}-{named}-{'distill' if distill else 'no-distill'}"


def chosen(settings: MainJob, memories: tuple[str, ...]) -> list[str]:
    """The memories that the settings select."""
    return [memory for memory in memories if memory in settings.memory]


def train(memory: str) -> str:
    """Command that trains on the stream with 10 images per class, or the same bytes."""
    return f"continual.run {STREAM} --memory {memory}"


def condensing_flags(part: str) -> str:
    """Flags of the condensation settings of a part."""
    changes = CONDENSING.get(part, {}).items()
    return "".join(f" --condensing.{name.replace('_', '-')} {value}" for name, value in changes)


def flags(replay: ReplayConfig) -> str:
    """Flags of the replay settings."""
    logits = "store-logits" if replay.store_logits else "no-store-logits"
    er_ace = "er-ace" if replay.er_ace else "no-er-ace"
    return (
        f"--storage {replay.storage} --factor {replay.factor} --{logits} "
        f"--batch-size-mem {replay.batch_size_mem} --{er_ace}"
    )


def measure(settings: MainJob, name: str, arguments: list[str]) -> None:
    """Run one command to its end and write its result.

    Raises:
        UserError: if the command fails.
    """
    result = RESULTS / settings.preset / f"{name}.json"
    if result.exists():
        return
    cores_each = max(1, cores() // settings.jobs)
    started = time.time()
    condensing = arguments[0] == "condense"
    split = 1 + condensing  # index of the first flag
    rest = [*arguments[split:], "--preset", settings.preset]
    rest += as_published(settings.preset) if condensing else []
    out = settings.runs / settings.preset / name
    config, summary = run_to_the_end(arguments[:split], rest, out, cores_each)
    result.parent.mkdir(parents=True, exist_ok=True)
    line = f"python -m {' '.join([*arguments[:split], *rest])}"
    write_json(result, {"line": line, "machine": machine(cores_each), **config, "summary": summary})
    print(f"{name}: {time.time() - started:.0f} s", flush=True)


def run(argv: list[str]) -> None:
    """Run the commands that have no result yet."""
    settings = read_flags(MainJob, argv, "python -m benchmarks.continual.main_job")
    wanted = [
        (name, arguments)
        for part, name, arguments in commands(settings)
        if settings.part in ("all", part)
    ]
    with ThreadPoolExecutor(settings.jobs) as pool:
        for job in [pool.submit(measure, settings, *command) for command in wanted]:
            job.result()


if __name__ == "__main__":
    main(run)
