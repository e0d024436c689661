"""Accuracy at equal bytes, by storage, labels and method: `python -m benchmarks.paper.frontier`.

Each recipe makes a set in the bytes of `ipc` whole images per class, and new networks are trained
on it. All recipes share one evaluation. A measurement is a row of results/frontier.csv and is not
repeated. Recipes are selected with --held-out, on training images that are held out; the documents
show the rows of the test split. Times are processor seconds on one thread, because these depend
little on other processes; with soft labels they include the training of the teacher.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.commands import machine
from benchmarks.paper.frontier_figure import draw, training
from benchmarks.rows import RESULTS, Row, as_cell, measure_missing, numbers, read_rows, spread
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.errors import unknown
from condense.runs.io import plain
from condense.runs.report import markdown_table
from condense.validation import at_least

if TYPE_CHECKING:
    from condense.data.image_data import ImageData

FILE, FIGURE = "frontier.csv", "frontier.png"
CASE = ("dataset", "ipc", "recipe", "labels", "seed", "width", "tested_on", "evaluation")
"""Columns that identify a measurement."""
WHOLE = "all training images"
"""The upper bound of real images in any storage, for the same training steps."""
SMALL = {"storage": "ycbcr420", "factor": 2}
DCT = {"storage": "dct"}
ADAM = {
    "init": "real",
    "iterations": 120,
    "batch_real": 48,
    "optimizer": "adam",
    "lr_img": 0.02,
    "lr_img_schedule": "cosine",
}
WIDE = {**DCT, "image_bytes": 114}
"""For wide networks in long training, where larger images are better."""
SHORT = "IDM, DCT, 5 networks of 200 steps"
"""As in a memory."""
RECIPES: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {"storage": "pixels"}),
    "random, factor 2": ("random", {"storage": "pixels", "factor": 2}),
    "random, factor 2, 4:2:0": ("random", SMALL),
    "random, factor 3, 4:2:0": ("random", {**SMALL, "factor": 3}),
    "random, DCT": ("random", DCT),
    "herding": ("herding", {"storage": "pixels"}),
    "herding, factor 2, 4:2:0": ("herding", SMALL),
    "herding, DCT": ("herding", DCT),
    "herding, DCT, 2000 steps": ("herding", {**DCT, "steps": 2000}),
    "DSA, DCT": ("dsa", DCT),
    "DSA, DCT, 150 iterations at 0.05": ("dsa", {**DCT, "iterations": 150, "lr_img": 0.05}),
    "DM, DCT": ("dm", DCT),
    "IDM, DCT": ("idm", DCT),
    SHORT: ("idm", {**DCT, "net_num": 5, "net_steps": 200}),
    "IDM, DCT, 5 networks of 600 steps": ("idm", {**DCT, "net_num": 5, "net_steps": 600}),
    "random, DCT, 114 bytes": ("random", WIDE),
    "herding, DCT, 114 bytes": ("herding", WIDE),
    "IDM, DCT, 114 bytes": ("idm", WIDE),
    "IDM, DCT, 114 bytes, width 128": (
        "idm",
        {**WIDE, "network": {"width": 128, "precision": "bfloat16"}},
    ),
    "DM": ("dm", {"storage": "pixels", **ADAM}),
    "DM, factor 2, 4:2:0": ("dm", {**SMALL, **ADAM}),
    "DM, factor 3, 4:2:0": ("dm", {**SMALL, **ADAM, "factor": 3}),
    WHOLE: ("whole", {"storage": "pixels"}),
}
"""By name: the method, and its changes of the cpu preset."""


@dataclass(frozen=True)
class Frontier:
    """Measure recipes at equal bytes."""

    datasets: tuple[str, ...] = ("cifar10",)
    ipc: tuple[int, ...] = (10,)
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Names of recipes."""
    labels: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
    seeds: int = 1
    """Sets per recipe, with seeds 0, 1, …"""
    width: int = 32
    """Filters per block of the tested networks."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the tested networks: bfloat16 takes half the time on some processors."""
    num_eval: int = 2
    """Tested networks per set."""
    steps: int = 1000
    """Training steps of a tested network, with 100 images each."""
    held_out: bool = False
    """Test on the last tenth of the training images of each class, which is not condensed."""
    show: bool = False
    """Measure nothing, only print the saved results."""
    results: Path = RESULTS
    """Folder of frontier.csv and frontier.png."""

    def __post_init__(self) -> None:
        at_least(1, self, "seeds", "width", "num_eval", "steps")
        for name in self.recipes:
            if name not in RECIPES:
                raise unknown("recipe", name, RECIPES)

    @property
    def evaluation(self) -> Evaluation:
        """The training of a tested network, the same for all recipes."""
        return Evaluation(
            num_eval=self.num_eval,
            steps=self.steps,
            batch_size=100,
            lr=0.05,
            lr_schedule="cosine",
            network=Network(width=self.width, precision=self.precision),
        )


def load_images(name: str, held_out: bool) -> ImageData:
    """A dataset; with `held_out`, the last tenth of each class's training images as test split."""
    import torch

    from condense.data.loading import load

    data = load(name)
    if not held_out:
        return data
    rows = data.train_indices_by_class()
    kept = torch.cat([row[: len(row) - len(row) // 10] for row in rows])
    rest = torch.cat([row[len(row) - len(row) // 10 :] for row in rows])
    return replace(data.train_subset(kept), x_test=data.x_train[rest], y_test=data.y_train[rest])


def measure(settings: Frontier, case: Row) -> Row:
    """Condense by a recipe and test the set; one row."""
    from condense.api import condense
    from condense.evaluation import evaluate
    from condense.runs.run_dir import provenance

    data = load_images(case["dataset"], settings.held_out)
    method, changes = RECIPES[case["recipe"]]
    rest = {**changes, "ipc": case["ipc"], "labels": case["labels"]}
    if "network" in changes:
        rest["network"] = Network(**changes["network"])
    began = time.process_time()
    small = condense(data, method, preset="cpu", seed=case["seed"], **rest)
    seconds = time.process_time() - began
    accuracy = evaluate(small, data, settings.evaluation, seed=case["seed"])
    return {
        **case,
        "overrides": json.dumps(changes),
        "images_per_class": small.images_per_class,
        "bytes": small.bytes,
        "cpu_seconds": f"{seconds:.1f}",
        "accuracies": as_cell(accuracy.values),
        "images": data.fingerprint(),
        **provenance(),
        **machine(1),
    }


def cases(settings: Frontier) -> Iterator[Row]:
    """What is measured, in order."""
    evaluation = json.dumps(plain(asdict(settings.evaluation)))
    for dataset, ipc, seed, recipe, labels in product(
        settings.datasets, settings.ipc, range(settings.seeds), settings.recipes, settings.labels
    ):
        if recipe == WHOLE and labels == "soft":
            continue
        yield {
            "dataset": dataset,
            "ipc": 1 if recipe == WHOLE else ipc,  # which these images do not depend on
            "recipe": recipe,
            "labels": labels,
            "seed": seed,
            "width": settings.width,
            "tested_on": "held out" if settings.held_out else "test",
            "evaluation": evaluation,
        }


def table(rows: Sequence[Row]) -> str:
    """Test accuracy (%) by dataset, size and recipe, with hard and with soft labels."""
    tested = [row for row in rows if row["tested_on"] == "test"]
    kinds = sorted({*map(_kind, tested)}, key=_place)

    def cells(kind: tuple[str, ...], labels: str) -> list[str]:
        found = [row for row in tested if _kind(row) == kind and row["labels"] == labels]
        values = [value for row in found for value in numbers(row["accuracies"])]
        if not found:
            return ["", "", ""]
        seconds = [float(row["cpu_seconds"]) for row in found]
        accuracy = f"{spread(values)} ({len(found)} × {len(values) // len(found)})"
        return [_sizes(found), f"{fmean(seconds):.0f}", accuracy]

    columns = ("images per class", "CPU seconds", "accuracy")
    heads = [f"{column}, {labels}" for labels in ("hard", "soft") for column in columns]
    return markdown_table(
        ["data set", "ipc", "width", "steps", "recipe", *heads],
        ([*kind, *cells(kind, "hard"), *cells(kind, "soft")] for kind in kinds),
    )


def held_out_table(rows: Sequence[Row]) -> str:
    """Accuracy (%) on held-out training images, by which the default method was chosen."""
    recipes = ("random, DCT", "herding, DCT", "DM, DCT", SHORT, "IDM, DCT")
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for row in rows:
        if (row["tested_on"], row["labels"]) == ("held out", "hard"):
            steps, _ = training(row)
            groups.setdefault((row["dataset"], int(row["ipc"]), steps), []).append(row)

    def cell(found: list[Row], recipe: str) -> str:
        rows = [row for row in found if row["recipe"] == recipe]
        return spread([value for row in rows for value in numbers(row["accuracies"])])

    return markdown_table(
        ["data set", "ipc", "steps", "images per class", *recipes],
        (
            [*map(str, kind), _sizes(found), *(cell(found, name) for name in recipes)]
            for kind, found in sorted(groups.items())
        ),
    )


def _sizes(rows: Sequence[Row]) -> str:
    """Images per class of the sets: several, where versions of the storage differ."""
    return ", ".join(map(str, sorted({int(row["images_per_class"]) for row in rows})))


def _kind(row: Row) -> tuple[str, ...]:
    steps, precision = training(row)
    ipc = "all" if row["recipe"] == WHOLE else row["ipc"]
    width = row["width"] if precision == "float32" else f"{row['width']}, {precision}"
    return row["dataset"], ipc, width, str(steps), row["recipe"]


def _place(kind: tuple[str, ...]) -> tuple[object, ...]:
    """Where a kind of rows is in the table: by numbers, then in the order of the recipes."""
    dataset, ipc, width, steps, recipe = kind
    size, _, precision = width.partition(", ")
    whole = ipc == "all"
    numbers = (whole, 0 if whole else int(ipc), int(size), precision, int(steps))
    return dataset, *numbers, [*RECIPES].index(recipe)


def run(argv: list[str]) -> None:
    """Measure what is missing, save each row, draw the figure, and print the table."""
    settings = read_flags(Frontier, argv, "python -m benchmarks.paper.frontier")
    path = settings.results / FILE
    if not settings.show:
        import torch

        torch.set_num_threads(1)
        measure_missing(path, cases(settings), CASE, partial(measure, settings))
    rows = read_rows(path)
    draw([row for row in rows if row["recipe"] != WHOLE], settings.results / FIGURE)
    print(table(rows))


if __name__ == "__main__":
    main(run)
