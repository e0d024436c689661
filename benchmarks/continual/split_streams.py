"""EEIL with its memories compared with Avalanche's strategies.

Command: `python -m benchmarks.continual.split_streams`.

Trains on a class-incremental stream with one or more seeds: EEIL with each of our memories, by
`continual.run`, and each baseline of `benchmarks.continual.baselines`. Each finished run is a row
of results/split_streams.csv. Runs with a row for the same images and settings are skipped, and an
interrupted EEIL run is resumed. At the end the rows are printed as a table.
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
from benchmarks.continual.main_job import MEMORIES, flags
from benchmarks.result_files import NAMES
from benchmarks.rows import RESULTS, Row, add_rows, read_rows, spread
from condense.cli.app import main
from condense.cli.device import choose_device
from condense.cli.flags import parse, read_flags
from condense.errors import unknown
from condense.runs.io import read_json
from condense.runs.report import markdown_table
from condense.runs.run_dir import CONFIG, SUMMARY, provenance
from condense.validation import at_least
from continual import run as continual_run
from continual.settings import EEIL_REPLAY, ReplayConfig

if TYPE_CHECKING:
    from condense.data.image_data import ImageData
    from continual.settings import ContinualConfig

PROG = "python -m benchmarks.continual.split_streams"
SHOWN = {
    **NAMES,
    "herding-er-ace": "herding (ER-ACE, balanced batches)",
    "icarl": "herding",
    "gdumb": "class-balanced",
    "gdumb-dsa": NAMES["dsa"],
}
"""Names of the memories in the table, which has a separate column for the strategy."""
HERDING_ER_ACE = "herding-er-ace"
"""Herding with the replay settings of condensed memories."""
WHOLE = ReplayConfig(batch_size_mem=64, er_ace=True)
"""Those settings: whole images in balanced batches."""
OURS = (*MEMORIES, HERDING_ER_ACE)
STRATEGIES: dict[str, str] = {
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
    "all": tuple(STRATEGIES),
    "ours": OURS,
    "theirs": tuple(name for name in STRATEGIES if name not in OURS),
}

SHARED = ("stream", "images_per_class", "memory", "strategy", "config", "images")
"""Columns that are equal in all rows of one mean."""

BASELINE_LRS = {"icarl": 0.2}
"""Learning rates that differ from EEIL's. Rebuffi et al. 2017 use 2 for 100 classes; the loss is
the mean of one binary loss per class, so fewer classes give larger gradients."""

NOTES = {
    "reservoir": "Naive with ReplayPlugin, cross-entropy, half of each batch from the memory, "
    "whose images are sampled from all images so far, regardless of their class",
    "class-balanced": "the same with equal shares for the classes so far",
    "icarl": "its own loss (binary cross-entropy and distillation) and its own learning rate, "
    "all outputs from the start, nearest class mean at test",
    "gdumb": "a new network for each task, trained on the memory only",
    "gdumb-dsa": "the same with a memory of DSA's images, condensed as for EEIL",
}


@dataclass(frozen=True)
class SplitStreams:
    """Measure memories on a class-incremental stream."""

    stream: Literal["split-fashionmnist", "split-cifar10"] = "split-fashionmnist"
    memory: str = "all"
    """random, herding, dc, dsa: memories of EEIL. herding-er-ace: herding with the replay settings
    of condensed memories. reservoir, class-balanced, icarl, gdumb: Avalanche's strategies.
    gdumb-dsa: GDumb with condensed images. ours, theirs, all: groups of these."""
    images_per_class: int = 10
    """Exemplars per class; Avalanche's strategies have the same total."""
    seeds: int = 3
    """Number of seeds, from 0."""
    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    data_root: Path | None = None
    """Folder of the datasets; default: $CONDENSE_DATA, else the user's cache folder."""
    runs: Path = Path("runs/split_streams")
    """Parent of the run folders of EEIL."""
    results: Path = RESULTS / "split_streams.csv"
    """CSV file to which rows are added."""

    def __post_init__(self) -> None:
        at_least(1, self, "images_per_class", "seeds")
        if self.memory not in (*GROUPS, *GROUPS["all"]):
            raise unknown("memory", self.memory, (*GROUPS, *GROUPS["all"]))

    @property
    def memories(self) -> tuple[str, ...]:
        """The memories that the settings select."""
        return GROUPS.get(self.memory, (self.memory,))


def key(settings: SplitStreams, images: str) -> Row:
    """Columns that are equal in comparable rows."""
    return {
        "stream": settings.stream,
        "images_per_class": settings.images_per_class,
        "preset": settings.preset,
        "images": images,
    }


def kept(settings: SplitStreams, images: str) -> list[Row]:
    """The rows measured with these settings on these images."""
    wanted = {name: str(value) for name, value in key(settings, images).items()}.items()
    return [row for row in read_rows(settings.results) if wanted <= row.items()]


def measure(settings: SplitStreams) -> str:
    """Run everything without a row; return the hash of the images.

    Raises:
        UserError: if images are not available or too few, and as `continual.run`.
    """
    device = choose_device(settings.device)
    from condense.methods.selection import require_images
    from continual.tasks import load_tasks

    tasks = [task.to(device) for task in load_tasks(settings.stream, settings.data_root)[1]]
    for task in tasks:
        require_images(task, settings.images_per_class)
    images = images_hash(tasks)
    for seed in range(settings.seeds):
        for memory in settings.memories:
            run = {"memory": memory, "seed": str(seed), "config": config_of(settings, memory)}
            if any(run.items() <= row.items() for row in kept(settings, images)):
                continue
            if memory in OURS:
                found = _ours(settings, images, memory, seed)
            else:
                found = _theirs(settings, tasks, memory, seed)
            _add(settings.results, {**found, **run}, key(settings, images))
    return images


def config_of(settings: SplitStreams, memory: str) -> str:
    """Other settings of a row: EEIL's replay settings, or a baseline's learning rate."""
    ours = _eeil(settings, memory)
    if memory in OURS:
        selected = {name: getattr(ours, name) for name in ("distill", "factor", "store_logits")}
        selected |= {name: getattr(ours.eeil, name) for name in ("batch_size_mem", "er_ace")}
    else:
        selected = {"lr": BASELINE_LRS.get(memory, ours.eeil.lr)}
    return " ".join(f"{name}={value}" for name, value in selected.items())


def _flags(settings: SplitStreams, memory: str) -> list[str]:
    """Flags of `continual.run` for this memory; for a baseline, those of EEIL with DSA."""
    name = "herding" if memory == HERDING_ER_ACE else memory if memory in OURS else "dsa"
    selected = ["--stream", settings.stream, "--memory", name, "--preset", settings.preset]
    return [*selected, *flags(EEIL_REPLAY if memory in ("random", "herding") else WHOLE).split()]


def _eeil(settings: SplitStreams, memory: str) -> ContinualConfig:
    return parse(continual_run.defaults, _flags(settings, memory), continual_run.PROG)


def images_hash(tasks: Sequence[ImageData]) -> str:
    """SHA-256 of both splits of all tasks, their normalisation and their order."""
    described = [task.describe() for task in tasks]
    parts = [f"{about['sha256']} {about['sha256_test']}" for about in described]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _ours(settings: SplitStreams, images: str, memory: str, seed: int) -> Row:
    """Run EEIL by `continual.run`; an unfinished run folder is resumed."""
    parts = settings.stream, memory, settings.images_per_class, settings.preset, images[:8]
    out = settings.runs / f"{'-'.join(map(str, parts))}-s{seed}"
    root = ["--data-root", str(settings.data_root)] if settings.data_root else []
    if not (out / CONFIG).exists():
        more = ["--images-per-class", str(settings.images_per_class), "--seed", str(seed)]
        more += ["--device", settings.device, "--out", str(out), *root, "--quiet"]
        continual_run.run([*_flags(settings, memory), *more])
    elif not (out / SUMMARY).exists():
        continual_run.run(["--resume", str(out), *root, "--quiet"])
    summary, config = (read_json(out / name) for name in (SUMMARY, CONFIG))
    return {**summary, "memory": memory, "commit": config["commit"]}


def _theirs(settings: SplitStreams, tasks: Sequence[ImageData], memory: str, seed: int) -> Row:
    """Run a baseline; it is never resumed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no QP solver found")  # from a dependency of Avalanche
        from benchmarks.continual.baselines import Job, train_baseline
    from continual.report import forgetting, stage_averages

    ours = _eeil(settings, memory)
    config = replace(ours.eeil, lr=BASELINE_LRS.get(memory, ours.eeil.lr))
    job = Job(tasks, config, settings.images_per_class, seed, ours.factor, ours.condensing)
    result = train_baseline(memory, job)
    return {
        **asdict(result),
        "memory": memory,
        "average_accuracy": stage_averages(result.matrix),
        "forgetting": forgetting(result.matrix),
        "device": str(tasks[0].device),
        "commit": provenance()["commit"],
    }


def _add(path: Path, found: Row, settings: Row) -> None:
    """Append a row; accuracies are from 0 to 1, times in seconds."""
    import torch

    stages = found["average_accuracy"]
    about = machine(torch.get_num_threads())
    row = {
        **{"stream": settings["stream"], "memory": found["memory"]},
        "strategy": STRATEGIES[found["memory"]],
        **{"images_per_class": settings["images_per_class"], "config": found["config"]},
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
    add_rows(path, [row])
    print(f"{row['memory']}, seed {row['seed']}: {row['accuracies']}", flush=True)


def table(rows: list[Row]) -> str:
    """Table of final accuracy over all classes of a class-incremental stream, and forgetting.

    Sorted by accuracy; measurements with other images or replay settings have separate lines.
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

    return markdown_table(
        ["stream", "images", "memory", "strategy", "accuracy", "forgetting", "n"],
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


def notes(memories: Sequence[str]) -> str:
    """Notes for the comparison of the rows of these memories."""
    general = (
        "Accuracy over the classes so far after each task, without task labels. Condensed memories "
        "have their default replay settings; herding and random have EEIL's replay, herding-er-ace "
        "that of condensed memories. Avalanche's strategies make as many steps as EEIL's two "
        "stages with a condensed memory, with the same batch size, network, initial weights and "
        "augmentation; their learning rate is divided by ten after each quarter. Reservoir, "
        "class-balanced and gdumb have their whole memory from the first task on, the others a "
        "fixed number of images for each class. Every memory stores one byte for a pixel of a "
        "channel."
    )
    theirs = [f"{name}: {NOTES[name]}." for name in memories if name in NOTES]
    return "\n".join([general, *theirs])


def run(argv: list[str]) -> None:
    """Run the missing measurements and print all results."""
    settings = read_flags(SplitStreams, argv, PROG)
    rows = kept(settings, measure(settings))
    memories = list(dict.fromkeys(row["memory"] for row in rows))
    print(f"\nat the {settings.preset} preset\n\n{table(rows)}\n\n{notes(memories)}")


if __name__ == "__main__":
    main(run)
