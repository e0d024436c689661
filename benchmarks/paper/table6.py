"""Table 6 and Figure 4 of the paper, architecture search.

Command: `python -m benchmarks.paper.table6 RUN RUN …`.

Reads finished runs of `python -m nas.search`: one with `--proxy whole`, which is the ground truth,
and one per proxy. Overwrites results/table6.csv (one row per run),
results/table6-architectures.csv (the accuracy of every architecture, to recompute correlations)
and the scatter plot of Figure 4. Prints the rows beside the paper's; a difference is given only if
both were measured with the same settings. The processor recorded is that of the machine on which
this command runs, so run it on the machine of the searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from benchmarks.commands import cores, machine
from benchmarks.rows import RESULTS, Row, write_rows
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.config.serialization import record
from condense.errors import UserError
from condense.runs.io import read_json
from condense.runs.report import markdown_table
from condense.runs.report_sections import as_flag
from condense.runs.run_dir import CONFIG
from nas.compare import Compared, plot, read, with_common_ground_truth
from nas.search import defaults
from nas.settings import PROXIES

if TYPE_CHECKING:
    from nas.table import GroundTruth


@dataclass(frozen=True)
class Paper:
    """A column of the paper's Table 6."""

    accuracy: float
    """Of the selected architecture, in per cent."""
    correlation: float
    """Spearman's ρ over the proxy's top 5 %."""
    minutes: float
    images: int


PAPER = {
    "random": Paper(78.2, 0.12, 32.5, 100),
    "dsa": Paper(81.3, 0.76, 44.5, 100),
    "early-stopping": Paper(84.3, 0.48, 32.6, 30_000),
    "whole": Paper(85.9, 1.00, 3580.2, 50_000),
}
PAPERS_SCALE = {
    "preset": "paper",
    "dataset": "cifar10",
    "train": 50_000,
    "image_size": 32,
    "n_complete": 720,
    "top_fraction": 0.05,
    "ground_truth_architectures": 720,
    "ground_truth_steps": 50_000,
}
PAPERS_STEPS = 300
"""Training steps of each architecture on a proxy."""
CORRELATIONS = ("spearman_top", "spearman_all", "kendall_all")
NOT_SAID = ("ground-truth", "data-root", "storage")
"""Flags with locations, which are left out of the command in a row."""
NO_MATTER = {"dataset", "workers", "timeout", "device", "seed", "deterministic", "cache"}
"""Flags that may differ in a run with the paper's settings; its data set has a column."""


@dataclass(frozen=True)
class Table6:
    """Compare finished searches with the paper's."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs on the same images, one of them with --proxy whole."""
    results: Path = RESULTS
    """Folder of the tables and the figure."""


def read_runs(paths: Sequence[Path]) -> list[Compared]:
    """The runs, all compared with the run on the whole set as ground truth.

    Raises:
        UserError: a run is not finished or uses other images, two runs have the same proxy, or
            there is no run on the whole set.
    """
    runs = [read(path) for path in paths]
    names = [each.name for each in runs]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"give one run of each proxy, not several of {', '.join(sorted(twice))}")
    if "whole" not in names:
        raise UserError("give the run with --proxy whole too: it is the ground truth")
    return with_common_ground_truth(runs, None)


def row(each: Compared, config: Mapping[str, Any], ground_truth: GroundTruth) -> Row:
    """The row of a run.

    Args:
        each: the run.
        config: its config.json.
        ground_truth: for the number of its steps and architectures.
    """
    summary = each.summary
    return {
        "proxy": each.name,
        "selected": summary["best"],
        "accuracy": _rounded(summary["best_accuracy"]),
        "regret": _rounded(summary["regret"]),
        **{key: value for name in CORRELATIONS for key, value in _correlation(summary, name)},
        "top_fraction": summary["top_fraction"],
        "n_complete": summary["n_complete"],
        "seconds_search": summary["seconds_search"],
        "seconds_proxy": summary["seconds_proxy"],
        "proxy_from_cache": summary["proxy_from_cache"],
        "seconds_wall": summary["seconds_wall"],
        "workers": summary["workers"],
        "images_stored": summary["images"],
        "steps": summary["steps"],
        "steps_saved": _rounded(summary["steps_saved"]),
        "ground_truth_steps": ground_truth.steps,
        "ground_truth_architectures": len(ground_truth.accuracies),
        "dataset": summary["dataset"],
        "image_size": summary["image_size"],
        "train": config["data"]["train"],
        "images": config["data"]["sha256"],
        "preset": summary["preset"],
        "seed": summary["seed"],
        "command": command(config["settings"]),
        "as_published": as_published(config["settings"]),
        "device": summary["device"],
        "version": config["version"],
        "commit": config["commit"],
        **machine(cores()),
    }


def command(settings: Mapping[str, Any]) -> str:
    """The command line that gives the settings in a config.json."""
    flags = [as_flag(name, value) for name, value in _unusual(settings).items()]
    return " ".join(["python -m nas.search", f"--proxy {settings['proxy']}", *flags])


def as_published(settings: Mapping[str, Any]) -> bool:
    """Whether a named proxy has the settings of its preset, except those in `NO_MATTER`."""
    named = settings["proxy"] in PROXIES
    return named and {*_unusual(settings)} <= {"preset", *NO_MATTER}


def is_papers(row: Row) -> bool:
    """Whether a row was measured as in the paper, so that the two may be compared."""
    steps = PAPERS_SCALE["ground_truth_steps"] if row["proxy"] == "whole" else PAPERS_STEPS
    return (
        row["as_published"]
        and row["steps"] == steps
        and all(row[k] == v for k, v in PAPERS_SCALE.items())
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown, our results beside the paper's."""
    heads = (
        *("proxy", "measured", "accuracy (%)", "paper", "difference", "regret"),
        *("Spearman, top", "paper", "Spearman, all", "Kendall", "minutes", "paper"),
        *("images", "paper"),
    )
    return markdown_table(heads, map(_cells, rows))


def architectures(runs: Sequence[Compared], ground_truth: GroundTruth) -> list[Row]:
    """A row for each architecture: its size, its accuracy on each proxy, and the ground truth."""
    sizes = {row.architecture: row.parameters for each in runs for row in each.table.rows}
    accuracies = {
        each.name: {row.architecture: row.accuracy for row in each.table.rows}
        for each in runs
        if each.name not in ("whole", "parameters")
    }
    return [
        {
            "architecture": name,
            "parameters": size,
            **{proxy: found.get(name) for proxy, found in accuracies.items()},
            "ground_truth": ground_truth.accuracies.get(name),
        }
        for name, size in sizes.items()
    ]


def _cells(row: Row) -> Iterator[str]:
    from nas.ranking import Correlation

    paper, papers = PAPER.get(row["proxy"]), is_papers(row)
    accuracy = row["accuracy"]
    yield row["proxy"]
    yield (
        "as in the paper"
        if papers
        else (
            f"reduced ({row['preset']}): {row['n_complete']} networks, {row['dataset']} at "
            f"{row['image_size']}×{row['image_size']}, "
            f"ground truth of {row['ground_truth_steps']} steps"
        )
    )
    yield "" if accuracy is None else f"{100 * accuracy:.1f}"
    yield f"{paper.accuracy:.1f}" if paper else ""
    comparable = papers and accuracy is not None
    yield f"{100 * accuracy - paper.accuracy:+.1f}" if paper and comparable else ""
    yield "" if row["regret"] is None else f"{100 * row['regret']:.1f}"
    top, whole, kendall = (
        str(Correlation(*(row[f"{name}{part}"] for part in ("", "_low", "_high", "_n"))))
        for name in CORRELATIONS
    )
    yield top
    yield f"{paper.correlation:.2f}" if paper else ""
    yield whole
    yield kendall
    yield f"{row['seconds_wall'] / 60:.1f}"
    yield f"{paper.minutes:.1f}" if paper else ""
    yield str(row["images_stored"])
    yield str(paper.images) if paper else ""


def _correlation(summary: Mapping[str, Any], name: str) -> Iterator[tuple[str, float | None]]:
    """A correlation, its interval and its n, by column name."""
    from nas.report import correlation_of

    found = correlation_of(summary, name)
    yield name, _rounded(found.value)
    yield f"{name}_low", _rounded(found.low)
    yield f"{name}_high", _rounded(found.high)
    yield f"{name}_n", found.n


def _unusual(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded settings that differ from the preset, by flag name."""
    preset, proxy = settings["common"]["preset"], settings["proxy"]
    epochs = [
        None if settings[group]["steps"] else settings[group]["epochs"]
        for group in ("training", "retraining")
    ]
    storage = (settings["condensing"] or {}).get("storage")
    presets = dict(_flags(record(defaults(preset, proxy))))
    usual = dict(_flags(record(defaults(preset, proxy, epochs[0], storage, epochs[1]))))
    # The storage selects other defaults, so it is said although these have it as well.
    usual |= {name: presets[name] for name in ("condensing.storage",) if name in presets}
    return {name: value for name, value in _flags(settings) if value != usual[name]}


def _flags(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Recorded settings by flag name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flags(value, "" if name == "common" else f"{prefix}{name}.")
        elif (flag := f"{prefix}{name}".replace("_", "-")) not in NOT_SAID:
            yield flag, value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def run(argv: list[str]) -> None:
    """Read the runs, save and print the tables, and plot the figure."""
    settings = read_flags(Table6, argv, "python -m benchmarks.paper.table6")
    from nas.table import GroundTruth

    runs = read_runs(settings.runs)
    ground_truth = next(GroundTruth.of(each.table) for each in runs if each.name == "whole")
    configs = [read_json(path / CONFIG) for path in settings.runs]
    rows = [row(each, config, ground_truth) for each, config in zip(runs, configs, strict=True)]
    write_rows(settings.results / "table6.csv", rows)
    write_rows(settings.results / "table6-architectures.csv", architectures(runs, ground_truth))
    proxies = [x for x in runs if x.name != "whole" and not x.summary["pruned"]]
    plot(settings.results / "figure4.png", proxies or runs)
    print(markdown(rows))


if __name__ == "__main__":
    main(run)
