"""EEIL and its memories beside Avalanche's strategies: `python -m benchmarks.split_streams`.

Learns a class-incremental stream by EEIL with each of our memories, through `continual.run`, and by
each competitor of `benchmarks.competitors`, seed after seed. Every run that is over is a row of
results/split_streams.csv; what has a row for the same images and settings is not measured again,
and an interrupted EEIL run is resumed. At the end the rows are printed as a table.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from benchmarks.commands import machine
from benchmarks.main_job import MEMORIES, flags
from benchmarks.measured import NAMES
from benchmarks.rows import RESULTS, Row, markdown, read_rows, spread, write_rows
from condense import command_line
from condense.errors import at_least, unknown
from condense.files import read_json
from condense.run_folder import provenance
from continual import run as continual_run
from continual.settings import STREAMS

if TYPE_CHECKING:
    from condense.data import ImageData
    from continual.settings import Continual

PROG = "python -m benchmarks.split_streams"
SHOWN = {**NAMES, "icarl": "herding", "gdumb": "class-balanced", "gdumb-dsa": NAMES["dsa"]}
"""What is remembered, in the table, where the learner stands beside it."""
ALIKE = "-alike"
"""What the names of chosen memories end in that are rehearsed as condensed ones are."""
OURS = (*MEMORIES, f"herding{ALIKE}")
LEARNERS: dict[str, str] = {
    **dict.fromkeys(OURS, "EEIL"),
    **{
        "reservoir": "Naive",
        "class-balanced": "Naive",
        "icarl": "iCaRL",
        "gdumb": "GDumb",
        "gdumb-dsa": "GDumb",
    },
}
GROUPS = {
    "all": tuple(LEARNERS),
    "ours": OURS,
    "theirs": tuple(name for name in LEARNERS if name not in OURS),
}

SHARED = ("stream", "images_per_class", "memory", "learner", "how", "images")
"""What rows have in common that are averaged over."""

RATES = {"icarl": 0.2}
"""Learning rates that are not EEIL's. Rebuffi et al. 2017 have 2 for a hundred classes; the mean
over all classes' binary losses has gradients the larger the fewer classes there are."""

NOTES = {
    "reservoir": "Naive with ReplayPlugin, cross-entropy, half of each batch from the memory, "
    "whose images are drawn from all so far whatever their class",
    "class-balanced": "the same with equal shares for the classes so far",
    "icarl": "its own loss (binary cross-entropy and distillation) at a learning rate of its own, "
    "all outputs from the start, nearest class mean at test",
    "gdumb": "a fresh network for each task, trained on the memory alone",
    "gdumb-dsa": "the same with DSA's images for a memory, made as EEIL's are",
}


@dataclass(frozen=True)
class SplitStreams:
    """Measure memories on a class-incremental stream."""

    stream: Literal["split-fashionmnist", "split-cifar10"] = "split-fashionmnist"
    memory: str = "all"
    """random, herding, dc or dsa: ours, with EEIL; herding-alike: herded images, kept and rehearsed
    as condensed ones are by default. reservoir, class-balanced, icarl or gdumb: theirs; gdumb-dsa:
    GDumb with condensed images. Or all of ours, all of theirs, or all."""
    images_per_class: int = 10
    """Remembered images of each class; theirs hold as many in all."""
    seeds: int = 3
    """Measure so many, from 0 on."""
    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    runs: Path = Path("runs/split_streams")
    """Where the run folders of EEIL go."""
    results: Path = RESULTS / "split_streams.csv"
    """The table to which rows are added."""

    def __post_init__(self) -> None:
        at_least(1, self, "images_per_class", "seeds")
        if self.memory not in (*GROUPS, *GROUPS["all"]):
            raise unknown("memory", self.memory, (*GROUPS, *GROUPS["all"]))

    @property
    def memories(self) -> tuple[str, ...]:
        """Those that are asked for."""
        return GROUPS.get(self.memory, (self.memory,))


def key(settings: SplitStreams, images: str) -> Row:
    """What rows that may be compared have in common."""
    return {
        "stream": settings.stream,
        "images_per_class": settings.images_per_class,
        "preset": settings.preset,
        "images": images,
    }


def kept(settings: SplitStreams, images: str) -> list[Row]:
    """The rows that have been measured with these settings on these images."""
    wanted = {name: str(value) for name, value in key(settings, images).items()}.items()
    return [row for row in read_rows(settings.results) if wanted <= row.items()]


def measure(settings: SplitStreams) -> str:
    """Run what has no row yet, row by row; give the hash of the images.

    Raises:
        UserError: where images cannot be had or are too few, and as `continual.run`.
    """
    device = command_line.choose_device(settings.device)
    from condense.methods.coresets import require_images
    from continual.tasks import load_tasks

    tasks = [task.to(device) for task in load_tasks(settings.stream, settings.data_root)[1]]
    for task in tasks:
        require_images(task, settings.images_per_class)
    images = images_hash(tasks)
    for seed in range(settings.seeds):
        for memory in settings.memories:
            run = {"memory": memory, "seed": str(seed), "how": how(settings, memory)}
            if any(run.items() <= row.items() for row in kept(settings, images)):
                continue
            if memory in OURS:
                found = _ours(settings, images, memory, seed)
            else:
                found = _theirs(settings, tasks, memory, seed)
            _add(settings.results, {**found, **run}, key(settings, images))
    return images


def how(settings: SplitStreams, memory: str) -> str:
    """What else a row depends on: how EEIL rehearses, or a competitor's learning rate."""
    ours = _eeil(settings, memory)
    if memory in OURS:
        chosen = {name: getattr(ours, name) for name in ("distill", "formation", "answers")}
        chosen |= {name: getattr(ours.learner, name) for name in ("memory_share", "asymmetric")}
    else:
        chosen = {"lr": RATES.get(memory, ours.learner.lr)}
    return " ".join(f"{name}={value}" for name, value in chosen.items())


def _flags(settings: SplitStreams, memory: str) -> list[str]:
    """Of `continual.run`, for the learner itself; beside one of theirs, for EEIL with DSA's."""
    name = memory.removesuffix(ALIKE) if memory in OURS else "dsa"
    chosen = ["--stream", settings.stream, "--memory", name, "--preset", settings.preset]
    alike = flags(STREAMS[settings.stream].rehearsal).split()
    return [*chosen, *alike] if memory.endswith(ALIKE) else chosen


def _eeil(settings: SplitStreams, memory: str) -> Continual:
    return command_line.parse(continual_run.defaults, _flags(settings, memory), continual_run.PROG)


def images_hash(tasks: Sequence[ImageData]) -> str:
    """SHA-256 over both splits of all tasks, their normalisation and their order."""
    described = [task.describe() for task in tasks]
    parts = [f"{about['sha256']} {about['sha256_test']}" for about in described]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ours(settings: SplitStreams, images: str, memory: str, seed: int) -> Row:
    """EEIL, by the ordinary command; its folder is gone on with where it is there."""
    parts = settings.stream, memory, settings.images_per_class, settings.preset, images[:8]
    out = settings.runs / f"{'-'.join(map(str, parts))}-s{seed}"
    root = ["--data-root", str(settings.data_root)] if settings.data_root else []
    if not (out / "config.json").exists():
        more = ["--images-per-class", str(settings.images_per_class), "--seed", str(seed)]
        more += ["--device", settings.device, "--out", str(out), *root, "--quiet"]
        continual_run.run([*_flags(settings, memory), *more])
    elif not (out / "summary.json").exists():
        continual_run.run(["--resume", str(out), *root, "--quiet"])
    summary, config = (read_json(out / f"{name}.json") for name in ("summary", "config"))
    return {**summary, "memory": memory, "commit": config["commit"]}


def _theirs(settings: SplitStreams, tasks: Sequence[ImageData], memory: str, seed: int) -> Row:
    """A competitor, from its beginning to its end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no QP solver found")  # what a dependency wishes for
        from benchmarks.competitors import Job, learn
    from continual.report import forgetting, stage_averages

    ours = _eeil(settings, memory)
    learner = replace(ours.learner, lr=RATES.get(memory, ours.learner.lr))
    job = Job(tasks, learner, settings.images_per_class, seed, ours.formation, ours.condensing)
    outcome = learn(memory, job)
    return {
        **asdict(outcome),
        "memory": memory,
        "average_accuracy": stage_averages(outcome.matrix),
        "forgetting": forgetting(outcome.matrix),
        "device": str(tasks[0].device),
        "commit": provenance()["commit"],
    }


def _add(path: Path, found: Row, settings: Row) -> None:
    """Append a row; accuracies are fractions of one, times seconds."""
    import torch

    stages = found["average_accuracy"]
    about = machine(torch.get_num_threads())
    row = {
        **{"stream": settings["stream"], "memory": found["memory"]},
        "learner": LEARNERS[found["memory"]],
        **{"images_per_class": settings["images_per_class"], "how": found["how"]},
        "seed": found["seed"],
        "preset": settings["preset"],
        "accuracies": " ".join(f"{value:.4f}" for value in stages),
        "final_average": f"{stages[-1]:.4f}",
        "forgetting": f"{found['forgetting']:.4f}",
        **{"memory_images": found["memory_images"], "memory_bytes": found["memory_bytes"]},
        **{"seconds": f"{found['seconds']:.1f}", "device": found["device"], **about},
        **{"avalanche": version("avalanche-lib"), "version": provenance()["version"]},
        **{"commit": found["commit"], "images": settings["images"]},
    }
    write_rows(path, [*read_rows(path), row])
    print(f"{row['memory']}, seed {row['seed']}: {row['accuracies']}", flush=True)


def table(rows: list[Row]) -> str:
    """Accuracy over all classes at the end of a stream whose classes grow, and what is forgotten.

    Learners stand in the order of their accuracy; what was measured on other images, or is
    rehearsed otherwise, in a line of its own.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        about = tuple(row[name] for name in SHARED)
        groups.setdefault(about, []).append(row)

    def column(found: list[Row], name: str) -> list[float]:
        return [100 * float(row[name]) for row in found]

    def order(item: tuple[tuple[str, ...], list[Row]]) -> tuple[str, int, float]:
        (stream, images, *_), found = item
        return stream, int(images), -fmean(column(found, "final_average"))

    lines = markdown(
        ["stream", "images", "memory", "learner", "accuracy", "forgetting", "n"],
        (
            [
                *about[:2],
                SHOWN.get(about[2], about[2]),
                about[3],
                *(spread(column(found, name)) for name in ("final_average", "forgetting")),
                str(len(found)),
            ]
            for about, found in sorted(groups.items(), key=order)
        ),
    )
    return "\n".join(lines)


def notes(memories: Sequence[str]) -> str:
    """What has to be known to compare the rows of these memories."""
    general = (
        "Accuracy over the classes so far after each task, without task labels. Condensed memories "
        "are kept and rehearsed as by default, chosen ones as EEIL has it or alike. Theirs make as "
        "many updates as EEIL's two stages with a condensed memory, of the same batch, network, "
        "start and augmentation, their learning rate divided by ten at each quarter. Reservoir, "
        "class-balanced and gdumb have their whole memory from the first task on, the others so "
        "much for each class. A pixel of a channel is a byte in every memory."
    )
    theirs = [f"{name}: {NOTES[name]}." for name in memories if name in NOTES]
    return "\n".join([general, *theirs])


def run(argv: list[str]) -> None:
    """Measure what has not been measured, and print all that has been."""
    settings = command_line.read_flags(SplitStreams, argv, PROG)
    rows = kept(settings, measure(settings))
    memories = list(dict.fromkeys(row["memory"] for row in rows))
    print(f"\nat the {settings.preset} preset\n\n{table(rows)}\n\n{notes(memories)}")


if __name__ == "__main__":
    command_line.main(run)
