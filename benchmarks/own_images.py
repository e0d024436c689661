"""The default command on folders of images, beside random and herded images in the same bytes.

Command: `python -m benchmarks.own_images FOLDER … --size 32`. Adds a row for each folder to
results/own_images.csv.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, starmap
from pathlib import Path
from statistics import fmean
from typing import Any

import tyro

from benchmarks.commands import cores, machine, run_to_the_end
from benchmarks.rows import (
    RESULTS,
    Row,
    as_cell,
    difference,
    measure_missing,
    numbers,
    read_rows,
    spread,
)
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import UserError
from condense.runs.report import markdown_table

FILE = "own_images.csv"
KEY = ("images", "ipc", "size", "seed", "preset")
BASELINES = ("herding", "random")
COMPARED = ("accuracies", *BASELINES)
ABOUT = ("images", "classes", "train", "images_per_class", "method")
"""Columns that a folder's sets share."""


@dataclass(frozen=True)
class OwnImages:
    """Condense folders of images with the default method, and compare."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """Folders with one sub-folder for each class; a row has the folder's name."""
    ipc: int = 1
    """The bytes of so many whole images per class."""
    size: int = 32
    """Height and width to which the images are brought."""
    seed: int = 0
    preset: str = "cpu"
    runs: Path = Path("runs/own-images")
    """Parent folder of the run folders."""
    results: Path = RESULTS
    """Folder of own_images.csv."""

    def __post_init__(self) -> None:
        if len({folder.name for folder in self.folders}) < len(self.folders):
            raise UserError("two folders have the same name: rename one of them")


def measure(case: Row, folder: Path, runs: Path) -> Row:
    """Condense and test the images of a folder. Returns the row to save."""
    threads = cores()
    named = {name: case[name] for name in ("preset", "ipc", "size", "seed")}
    flags = [part for name, value in named.items() for part in (f"--{name}", str(value))]
    out = runs / "-".join(map(str, case.values()))
    asked = ["--dataset", str(folder), *flags, "--compare", "both"]
    config, summary = run_to_the_end(["condense", "run"], asked, out, threads)
    data = config["data"]
    return {
        **case,
        **{name: data[name] for name in ("train", "test", "classes", "sha256")},
        "method": summary["method"],
        "images_per_class": summary["images_per_class"],
        "accuracies": as_cell(summary["accuracies"]),
        **{name: _accuracies(summary["baselines"].get(name)) for name in BASELINES},
        "seconds": summary["seconds"],
        "command": f"python -m condense run --dataset {case['images']} {' '.join(flags)}",
        "version": config["version"],
        "commit": config["commit"],
        **machine(threads),
    }


def _accuracies(baseline: dict[str, Any] | None) -> str:
    """As a cell; empty for the set's own method, which is no baseline."""
    return as_cell(baseline["accuracies"]) if baseline else ""


def table(rows: Iterable[Row], preset: str = "cpu") -> str:
    """Accuracy of the sets of a folder and of the baselines; the gain is over herded images."""
    folders: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["preset"] == preset:
            folders.setdefault(tuple(row[name] for name in ABOUT), []).append(row)

    def cells(about: tuple[str, ...], sets: list[Row]) -> list[str]:
        ours, herding, random = ([numbers(row[name]) for row in sets] for name in COMPARED)
        gain = difference(_means(ours), _means(herding)) if all(herding) else ""
        accuracies = (spread([*chain.from_iterable(values)]) for values in (random, herding, ours))
        return [*about, *accuracies, gain, str(len(sets))]

    heads = ["images", "classes", "training images", "stored per class", "method"]
    heads += ["random", "herding", "the set", "gain", "n"]
    return markdown_table(heads, starmap(cells, folders.items()))


def _means(sets: list[list[float]]) -> dict[int, float]:
    """By set: the mean over its networks."""
    return {number: fmean(values) for number, values in enumerate(sets)}


def run(argv: list[str]) -> None:
    """Measure the folders that have no row yet, and print the table."""
    settings = read_flags(OwnImages, argv, "python -m benchmarks.own_images")
    path = settings.results / FILE
    for folder in settings.folders:
        case = {"images": folder.name, **{name: getattr(settings, name) for name in KEY[1:]}}
        one = partial(measure, folder=folder, runs=settings.runs)
        measure_missing(path, [case], KEY, one)
    print(table(read_rows(path), settings.preset))


if __name__ == "__main__":
    main(run)
