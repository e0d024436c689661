"""Accuracy by the number of generated images (GTN): `python -m benchmarks.paper.gtn_curve`.

The paper (§4.2) quotes the curve of Such et al. 2020, whose 4096 images of MNIST, in 32 steps of
128, are slightly below DSA's 50 per class. Here `python -m condense run --method gtn` learns 416
images per class, in 32 steps of 130, in fewer iterations. Networks are trained with the learnt
learning rates, and tested after 1, 2, 4, … of these steps; beside them networks trained alike on
random real images. Each row of results/gtn_curve.csv is one number of steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.commands import cores, machine, run_folder, run_to_the_end
from benchmarks.rows import RESULTS, Row, as_cell, measure_missing, numbers, read_rows, spread
from condense import (
    CondensedSet,
    Evaluation,
    ImageData,
    Network,
    UserError,
    at_least,
    condense,
    evaluate,
    load,
    preset,
)
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.report import markdown_table
from condense.runs.run_dir import CONDENSED

FILE = "gtn_curve.csv"
CASE = ("command", "images", "steps")
KINDS = {"gtn": "generated images", "random": "random real images"}


@dataclass(frozen=True)
class Curve:
    """Learn a generator, and test networks after more and more steps on its images."""

    dataset: str = "mnist"
    ipc: int = 416
    """Generated images per class."""
    steps: int = 32
    """Training steps, each on an equal share of the images: a power of two."""
    iterations: int = 250
    """Steps of the generator; the authors took 2000."""
    width: int = 16
    """Filters of the networks, and of the generator's last hidden layer."""
    networks: int = 5
    """Tested networks."""
    seed: int = 0
    preset: str = "cpu"
    show: bool = False
    """Measure nothing, only print the saved results."""
    runs: Path = Path("runs/gtn")
    """Parent folder of the run folder."""
    results: Path = RESULTS
    """Folder of gtn_curve.csv."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc", "steps", "iterations", "width", "networks")
        if self.steps & (self.steps - 1):
            raise UserError(f"steps must be a power of two, not {self.steps}")


def cases(settings: Curve) -> Iterator[Row]:
    """What is measured: the two kinds of images after 1, 2, 4, … steps."""
    command = f"python -m condense run {' '.join(flags_of(settings))}"
    for doublings in range(settings.steps.bit_length()):
        for kind in KINDS:
            yield {"command": command, "images": kind, "steps": 2**doublings}


def first_steps(condensed: CondensedSet, steps: int) -> CondensedSet:
    """The images and the learning rates of the first steps of a set."""
    lrs = condensed.distill_lrs
    assert lrs is not None
    share = condensed.images_per_class // lrs.shape[1] * steps
    rows = slice(None), slice(share)
    images = condensed.images.unflatten(0, (condensed.classes, -1))[rows].flatten(0, 1)
    labels = condensed.labels.unflatten(0, (condensed.classes, -1))[rows].flatten(0, 1)
    return replace(condensed, images=images, labels=labels, distill_lrs=lrs[:, :steps])


def measure(settings: Curve, data: ImageData, case: Row) -> Row:
    """Test networks on the images of a case; one row."""
    flags, out = flags_of(settings), settings.runs / settings.preset / settings.dataset
    config, summary = run_to_the_end(["condense", "run"], flags, out, cores())
    learnt = CondensedSet.load(run_folder(out, flags) / CONDENSED)
    used = learnt
    if case["images"] == "random":
        drawn = condense(data, "random", ipc=settings.ipc, storage="float32", seed=settings.seed)
        used = replace(drawn, distill_lrs=learnt.distill_lrs)
    used = first_steps(used, case["steps"])
    test = preset(
        Evaluation,
        settings.preset,
        num_eval=settings.networks,
        network=Network(width=settings.width),
    )
    return {
        **case,
        "images_seen": len(used.images),
        "accuracies": as_cell(evaluate(used, data, test, seed=settings.seed).values),
        "seconds": f"{summary['seconds']:.0f}",
        "sha256": config["data"]["sha256"],
        "version": config["version"],
        "commit": config["commit"],
        **machine(cores()),
    }


def flags_of(settings: Curve) -> list[str]:
    """The flags of `python -m condense run`."""
    return [
        *("--dataset", settings.dataset, "--method", "gtn", "--ipc", str(settings.ipc)),
        *("--distill-steps", str(settings.steps), "--iterations", str(settings.iterations)),
        *("--width", str(settings.width), "--generator-width", str(settings.width)),
        *("--preset", settings.preset, "--seed", str(settings.seed)),
        *("--evaluation.num-eval", "1", "--evaluation.network.width", str(settings.width)),
    ]


def table(rows: list[Row]) -> str:
    """Mean accuracy of each kind of images, by the number of steps."""
    lines: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        values = numbers(row["accuracies"])
        key = row["command"], row["steps"]
        line = lines.setdefault(key, [row["steps"], row["images_seen"]])
        line.append(f"{spread(values)} (n = {len(values)})")
    return markdown_table(["steps", "images", *KINDS.values()], lines.values())


def run(argv: list[str]) -> None:
    """Measure what is missing, save each row, and print the table."""
    settings = read_flags(Curve, argv, "python -m benchmarks.paper.gtn_curve")
    path = settings.results / FILE
    if not settings.show:
        one = partial(measure, settings, load(settings.dataset))
        measure_missing(path, cases(settings), CASE, one)
    print(table(read_rows(path)))


if __name__ == "__main__":
    main(run)
