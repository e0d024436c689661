"""The measurements behind the README: `python -m benchmarks.main_job`.

Runs every command of a list, each as a user would type it, and keeps what its run folder says
(settings, images, seed, version, time, figures) in results/main_job/NAME.json. Commands whose
result is there already are not run again, and one that was interrupted is resumed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from benchmarks.commands import cores, machine, run_to_the_end
from condense.command_line import main, read_flags
from condense.files import write_json
from continual.settings import LEARNERS_OWN, PLAIN, REHEARSED, Rehearsal

STREAM = "--stream svhn-mnist-usps"
RESULTS = Path(__file__).parent / "results" / "main_job"
Memory = Literal["random", "herding", "dc", "dsa"]
MEMORIES: tuple[Memory, ...] = get_args(Memory)
REHEARSALS = {
    "plain": (PLAIN, MEMORIES),
    "small": (Rehearsal(formation=REHEARSED.formation), ("herding", "dsa")),
    "rehearsed": (REHEARSED, ("herding", "dc", "dsa")),
    "long": (REHEARSED, ("dc", "dsa")),
    "shallow": (REHEARSED, ("dc", "dsa")),
    "thirds": (replace(REHEARSED, formation=3), ("herding",)),
    "gentle": (PLAIN, ("dsa",)),
}
"""By part: how memories are kept and rehearsed, and which."""

DEEP: dict[str, float] = {"image_lr": 3.0, "network.depth": 3}
"""Small images condensed like whole ones, as they were by default at first."""

CONDENSING: dict[str, dict[str, float]] = {
    "small": DEEP,
    "rehearsed": DEEP,
    "long": {**DEEP, "outer": 100},
    "gentle": {"outer": 100, "image_lr": 1.0, "network_lr": 0.05},
}
"""By part: how memories are condensed where that is not the default, which has 20 outer iterations
at the cpu preset; the paper has 1000."""


@dataclass(frozen=True)
class MainJob:
    """Measure what the README quotes."""

    part: Literal[
        "all",
        "mnist",
        "plain",
        "small",
        "rehearsed",
        "long",
        "shallow",
        "thirds",
        "gentle",
        "heads",
        "time",
    ] = "all"
    """mnist: condensed sets of MNIST. plain: the four memories as EEIL keeps and rehearses them.
    small: DSA and herding with four times as many images of half the side. rehearsed: herding, DC
    and DSA as DSA is by default, but condensed like whole images. long: the same five times as
    long. shallow: DC and DSA as by default, condensed in smaller steps by a shallower network.
    thirds: herding so, with nine times as many images of a third of the side. gentle: DSA rehearsed
    as in plain, condensed five times as long and in smaller steps. heads: DSA and herding with the
    other heads, each as by default. time: the main job with an empty cache."""
    memory: tuple[Memory, ...] = MEMORIES
    """random herding dc dsa: only these."""
    distill: tuple[bool, ...] = (False, True)
    """Of the streams with one head: without distillation, with it, or both."""
    preset: str = "cpu"
    seeds: int = 3
    first: int = 0
    """The first seed."""
    jobs: int = 1
    """Commands at a time; each has its share of the cores."""
    runs: Path = Path("runs/main_job")
    """Where the run folders go."""


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
            bare = f"{line} --evaluation.augment none"
            yield "mnist", f"mnist-{method}-10-unaugmented-s{seed}", bare.split()
    for part, (how, memories) in REHEARSALS.items():
        for distill in settings.distill:
            flag = "distill" if distill else "no-distill"
            for memory in chosen(settings, memories):
                more = "" if memory in LEARNERS_OWN else condensing_flags(part)
                for seed in seeds:
                    line = f"{learn(memory)} {flags(how)}{more} --{flag} --seed {seed}"
                    named = f"{memory}-{part}" if part != "plain" else memory
                    yield part, f"domain-{named}-{flag}-s{seed}", line.split()
    for head in ("task", "class"):
        for memory in chosen(settings, ("dsa", "herding")):
            line = f"{learn(memory)} --no-distill --head {head}"
            yield "heads", f"{head}-{memory}-no-distill-s0", line.split()
    yield "time", "time-domain-dsa-s0", f"{learn('dsa')} --no-cache".split()


def chosen(settings: MainJob, memories: tuple[str, ...]) -> list[str]:
    """Those of the memories that are asked for."""
    return [memory for memory in memories if memory in settings.memory]


def learn(memory: str) -> str:
    """How the stream is learnt with a memory of 10 images per class, or of as many bytes."""
    return f"continual.run {STREAM} --memory {memory}"


def condensing_flags(part: str) -> str:
    """Of how the memories of a part are condensed."""
    changes = CONDENSING.get(part, {}).items()
    return "".join(f" --condensing.{name.replace('_', '-')} {value}" for name, value in changes)


def flags(how: Rehearsal) -> str:
    """Of how the memory is kept and rehearsed."""
    answers = "answers" if how.answers else "no-answers"
    asymmetric = "asymmetric" if how.asymmetric else "no-asymmetric"
    return (
        f"--formation {how.formation} --{answers} --memory-share {how.memory_share} --{asymmetric}"
    )


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
    rest = [*arguments[split:], "--preset", settings.preset]
    out = settings.runs / settings.preset / name
    config, summary = run_to_the_end(arguments[:split], rest, out, cores_each)
    result.parent.mkdir(parents=True, exist_ok=True)
    line = f"python -m {' '.join(arguments)} --preset {settings.preset}"
    write_json(result, {"line": line, "machine": machine(cores_each), **config, "summary": summary})
    print(f"{name}: {time.time() - started:.0f} s", flush=True)


def run(argv: list[str]) -> None:
    """Run what has not been run."""
    settings = read_flags(MainJob, argv, "python -m benchmarks.main_job")
    wanted = [
        (name, arguments)
        for part, name, arguments in commands(settings)
        if settings.part in ("all", part)
    ]
    with ThreadPoolExecutor(settings.jobs) as pool:
        for measured in [pool.submit(measure, settings, *command) for command in wanted]:
            measured.result()


if __name__ == "__main__":
    main(run)
