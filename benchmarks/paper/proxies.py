"""Rankings by several proxies and seeds, at equal bytes: `python -m benchmarks.paper.proxies`.

Runs `python -m nas.search` on CIFAR-10 at the cpu preset for each proxy, storage and seed, and
compares its scores with the ground truth in results/table6-architectures.csv, which
`benchmarks.paper.table6` wrote. Each row of results/proxies.csv is one search, with the accuracy
of each architecture. Differences between proxies are paired: by seed for their mean, and by
architecture for the bootstrap interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.commands import cores, machine, run_folder, run_to_the_end
from benchmarks.rows import RESULTS, Row, measure_missing, read_rows, spread
from condense import UserError, at_least
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.report import markdown_table
from nas import Table
from nas.ranking import order, resamples, spearman

FILE = "proxies.csv"
GROUND_TRUTH = "table6-architectures.csv"
KIND = ("proxy", "storage", "ipc")
CASE = (*KIND, "dataset", "preset", "seed")
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Proxies:
    """Search with several proxies and seeds."""

    proxies: tuple[Literal["random", "herding", "dc", "dm", "idm", "dsa"], ...] = (
        "random",
        "dm",
        "dsa",
    )
    storages: tuple[Literal["float32", "pixels", "dct"], ...] = ("dct",)
    """How proxy sets are stored."""
    ipc: tuple[int, ...] = (10,)
    """Proxy sets have the bytes of so many whole images per class."""
    seeds: int = 3
    """Searches per proxy, with seeds 0, 1, …"""
    workers: int = 2
    """Training processes of a search."""
    preset: Literal["cpu", "smoke"] = "cpu"
    dataset: str = "cifar10"
    """The data set of the ground truth."""
    show: bool = False
    """Measure nothing, only print the saved results."""
    runs: Path = Path("runs/proxies")
    """Parent folder of the run folders."""
    results: Path = RESULTS
    """Folder of proxies.csv and of the ground truth."""

    def __post_init__(self) -> None:
        at_least(1, self, "seeds", "workers")


def cases(settings: Proxies) -> Iterator[Row]:
    """What is measured, one seed of all kinds after the other."""
    ours = {"dataset": settings.dataset, "preset": settings.preset}
    kinds = product(range(settings.seeds), settings.storages, settings.ipc, settings.proxies)
    for seed, storage, ipc, proxy in kinds:
        yield {"proxy": proxy, "storage": storage, "ipc": ipc, **ours, "seed": seed}


def measure(settings: Proxies, case: Row) -> Row:
    """Search with a proxy; one row."""
    name = "-".join(str(case[key]) for key in CASE)
    flags = ["--proxy", case["proxy"], "--dataset", case["dataset"]]
    flags += ["--preset", case["preset"], "--condensing.storage", case["storage"]]
    flags += ["--condensing.ipc", str(case["ipc"])]
    flags += ["--retraining.networks", "0", "--seed", str(case["seed"])]
    out = settings.runs / name
    given = [*flags, "--workers", str(settings.workers)]
    config, summary = run_to_the_end(["nas.search"], given, out, 1)
    folder = run_folder(out, given)
    found = {row.architecture: row.accuracy for row in Table.read(folder).rows}
    names = [row["architecture"] for row in ground_truth(settings.results)]
    if missing := [name for name in names if found.get(name) is None]:
        raise UserError(f"{folder} has no accuracy of {', '.join(missing[:3])}")
    return {
        **case,
        "accuracies": " ".join(f"{found[name]:.4f}" for name in names),
        "images_stored": summary["images"],
        "steps": summary["steps"],
        "seconds_search": summary["seconds_search"],
        "seconds_proxy": summary["seconds_proxy"],
        "command": f"python -m nas.search {' '.join(flags)}",
        "images": config["data"]["sha256"],
        "version": config["version"],
        "commit": config["commit"],
        **machine(cores()),
    }


def ground_truth(results: Path) -> list[Row]:
    """The architectures with a ground truth, in the order of the file."""
    rows = [row for row in read_rows(results / GROUND_TRUTH) if row["ground_truth"]]
    if not rows:
        raise UserError(f"{results / GROUND_TRUTH} has no ground truth")
    return rows


def table(rows: Sequence[Row], results: Path = RESULTS, preset: str = "cpu") -> str:
    """Mean rank correlation of each proxy over its seeds, beside random images in equal bytes."""
    accuracies = np.array([float(row["ground_truth"]) for row in ground_truth(results)])
    kinds: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        if row["preset"] != preset:
            continue
        kinds.setdefault(tuple(row[key] for key in KIND), {})[row["seed"]] = row
    lines = []
    for (proxy, *stored), found in kinds.items():
        ours, base = _scores(found), _scores(kinds.get(("random", *stored), {}))
        every = [float(spearman(scores, accuracies)) for scores in ours.values()]
        gain = "" if proxy == "random" else difference(ours, base, accuracies)
        selected = [order(list(scores))[0] for scores in ours.values()]
        regret = [100 * (accuracies.max() - accuracies[index]) for index in selected]
        images = ", ".join(sorted({row["images_stored"] for row in found.values()}))
        minutes = [float(row["seconds_search"]) / 60 for row in found.values()]
        about = [spread(every, 2), gain, spread(regret), spread(minutes), str(len(found))]
        lines.append([proxy, *stored, images, *about])
    heads = ["proxy", "storage", "ipc", "images", "Spearman, all", "− random, same bytes"]
    return markdown_table([*heads, "regret", "minutes of training", "n"], lines)


def _scores(found: dict[str, Row]) -> dict[str, Array]:
    return {seed: np.array(row["accuracies"].split(), float) for seed, row in found.items()}


def difference(ours: dict[str, Array], theirs: dict[str, Array], accuracies: Array) -> str:
    """Mean difference of ρ over the seeds that both have, with its 95 % interval.

    The interval is a bootstrap (percentile) over architectures, the same for both proxies and all
    seeds.
    """
    seeds = [seed for seed in ours if seed in theirs]
    if not seeds:
        return ""

    def mean(chosen: Any) -> Array:
        gains = [
            spearman(ours[seed][chosen], accuracies[chosen])
            - spearman(theirs[seed][chosen], accuracies[chosen])
            for seed in seeds
        ]
        return np.asarray(np.mean(gains, axis=0))

    values = np.concatenate([mean(rows) for rows in resamples(len(accuracies))])
    low, high = np.nanquantile(values, (0.025, 0.975))
    return f"{float(mean(slice(None))):+.2f} [{low:+.2f}, {high:+.2f}]"


def run(argv: list[str]) -> None:
    """Search with what is missing, save each row, and print the table."""
    settings = read_flags(Proxies, argv, "python -m benchmarks.paper.proxies")
    path = settings.results / FILE
    if not settings.show:
        measure_missing(path, cases(settings), CASE, lambda case: measure(settings, case))
    print(table(read_rows(path), settings.results, settings.preset))


if __name__ == "__main__":
    main(run)
