"""Compare several searches: `python -m nas.compare RUN RUN …`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import tyro

from condense import UserError
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import printable
from condense.runs.paths import exists
from condense.runs.plots import new_figure, save
from condense.runs.report import text_table
from condense.runs.run_dir import SUMMARY
from condense.system.notes import note
from nas.settings import label

if TYPE_CHECKING:
    from nas.table import Table

PROG = "python -m nas.compare"
MOST_RUNS = 100
"""With more, the figure is too wide to be drawn."""


@dataclass(frozen=True)
class Compare:
    """Compare the proxies of several finished searches in one table and one figure."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs on the same images."""
    ground_truth: Path | None = None
    """A run with --proxy whole, or its architectures.csv; by default the one among the runs, else
    the ground truth of each run."""
    out: Path = Path("comparison.png")
    """Path of the figure."""


@dataclass(frozen=True)
class Compared:
    """One run of the comparison."""

    name: str
    table: Table
    summary: dict[str, Any]


def run(argv: list[str]) -> None:
    """Compare finished runs."""
    settings = read_flags(Compare, argv, PROG)
    if not 1 <= len(settings.runs) <= MOST_RUNS:
        raise UserError(f"give the folders of finished runs, at most {MOST_RUNS}")
    compared = told_apart([read(path) for path in settings.runs], settings.runs)
    compared = with_common_ground_truth(compared, settings.ground_truth)
    print(table(compared))
    plot(settings.out, compared)
    print(f"  {settings.out}")


def read(path: Path) -> Compared:
    """Read a finished run.

    Raises:
        UserError: the run is not finished, or its files are damaged or of different sessions.
    """
    from nas.summary import read_summary
    from nas.table import TABLE, Table

    # Every command writes a summary; only a search writes a table of architectures.
    if not (exists(path / SUMMARY) and exists(path / TABLE)):
        raise UserError(f"{path} is not a finished run of python -m nas.search")
    summary = read_summary(path)
    table = Table.read(path / TABLE)
    if all(row.score is None for row in table.rows):
        raise UserError(f"{path / TABLE} is damaged: none of its architectures has a score")
    if not _agree(summary, table):
        raise UserError(
            f"{TABLE} and {SUMMARY} of {path} do not belong together: if the search was resumed "
            f"and stopped, finish it with python -m nas.search --resume {path}"
        )
    name = label(summary["proxy"]) + (", pruned" if summary["pruned"] else "")
    return Compared(name, table, summary)


def told_apart(runs: Sequence[Compared], paths: Sequence[Path]) -> list[Compared]:
    """The runs; where names are equal, with their folders' names, or their paths if these are
    equal too."""
    folders = [path.resolve().name for path in paths]
    of_name = Counter(each.name for each in runs)
    of_both = Counter((each.name, folder) for each, folder in zip(runs, folders, strict=True))
    found = []
    for each, folder, path in zip(runs, folders, paths, strict=True):
        place = folder if of_both[each.name, folder] == 1 else str(path)
        name = f"{each.name} ({printable(place)})" if of_name[each.name] > 1 else each.name
        found.append(dataclasses.replace(each, name=name))
    return found


def _agree(summary: Mapping[str, Any], table: Table) -> bool:
    """Whether a summary is that of the table. A resumed search replaces one after the other."""
    from nas.report import ranked

    statuses = Counter(row.status for row in table.rows)
    counts = {"n_complete": "complete", "pruned": "pruned", "failed": "failed"}
    counted = all(summary[entry] == statuses[status] for entry, status in counts.items())
    return counted and summary["best"] == ranked(table)[0].architecture


def with_common_ground_truth(runs: Sequence[Compared], path: Path | None) -> list[Compared]:
    """The runs, compared with one common ground truth if there is one.

    Raises:
        UserError: the runs or the ground truth use different images, or the ground truth is of
            other networks with the same names, or has none of the architectures of a run.
    """
    from nas.report import agreement, ranked, regret
    from nas.table import GroundTruth

    first = runs[0].table
    _require_same_images([other.table for other in runs])
    about = first.images_sha256, first.dataset, first.test_sha256
    ground_truth = GroundTruth.read(path, *about) if path else None
    whole = [other.table for other in runs if other.table.proxy == "whole"]
    if ground_truth is None and whole:
        ground_truth = GroundTruth.of(whole[0])
    if ground_truth is None:
        return list(runs)
    found = []
    for other in runs:
        ground_truth.count_shared((row.architecture for row in ranked(other.table)), other.name)
        ground_truth.require_same_networks(other.table.sizes, other.table.build_sha256)
        table = other.table.with_ground_truth(ground_truth.accuracies)
        best, own = ranked(table)[0].ground_truth, other.summary
        if best is not None or own["retrained_steps"] is None:
            # Without retraining, the run's own accuracy is from another ground truth.
            own = {**own, "best_accuracy": best, "retrained_steps": None}
        summary = {
            **own,
            **agreement(table, own["top_fraction"]),
            "regret": regret(ground_truth, own["best_accuracy"], own["retrained_steps"]),
        }
        found.append(dataclasses.replace(other, table=table, summary=summary))
    return found


def _require_same_images(tables: Sequence[Table]) -> None:
    first = tables[0]
    same = "compare runs with the same --dataset and --image-size"
    for other in tables:
        if other.images_sha256 != first.images_sha256:
            raise UserError(
                f"the runs used different images ({first.dataset}, {other.dataset}): {same}"
            )
    if len({other.test_sha256 for other in tables}) > 1:
        raise UserError(f"the runs used different test images of {first.dataset}: {same}")


def table(runs: Sequence[Compared]) -> str:
    """A line for each run."""
    from nas.report import correlation_of, per_cent

    heads = (
        *("proxy", "ranked", "selected", "accuracy", "regret", "Spearman top", "Spearman all"),
        *("Kendall", "time (s)", "images"),
    )
    cells = [heads]
    for each in runs:
        summary = each.summary
        cells.append(
            (
                each.name,
                str(summary["n_complete"]),
                str(summary["best"]),
                per_cent(summary["best_accuracy"]),
                per_cent(summary["regret"]),
                str(correlation_of(summary, "spearman_top")),
                str(correlation_of(summary, "spearman_all")),
                str(correlation_of(summary, "kendall_all")),
                f"{summary['seconds_wall']:.0f}",
                str(summary["images"]),
            )
        )
    return text_table(cells)


def plot(path: Path, runs: Sequence[Compared]) -> None:
    """Write one scatter plot per run, and one plot with the rankings of all runs, as a PNG file.

    In the last one are the runs of `on_one_axis`.
    """
    from nas import report

    figure = new_figure(3.6 * (len(runs) + 1), 3.6)
    places = figure.subplots(1, len(runs) + 1, squeeze=False)[0]
    for axes, each in zip(places, runs, strict=False):
        rows = report.ranked(each.table)
        report.scatter(axes, rows, each.summary["top_fraction"], each.name)
    for each in on_one_axis(runs):
        report.ranking(places[-1], report.ranked(each.table), each.name)
    save(figure, path)


def on_one_axis(runs: Sequence[Compared]) -> list[Compared]:
    """The runs whose rankings are of the same values: the ground truth, else accuracies on the
    proxy, else numbers of parameters."""
    from nas.report import ranked

    for column, name in (("ground_truth", "a ground truth"), ("accuracy", "trained networks")):
        chosen = [
            each
            for each in runs
            if any(getattr(row, column) is not None for row in ranked(each.table))
        ]
        if chosen and len(chosen) < len(runs):
            note(f"{len(chosen)} of {len(runs)} runs have {name}: only their rankings are compared")
        if chosen:
            return chosen
    return list(runs)


def entry_point() -> NoReturn:
    """Run the command of this process."""
    main(run)


if __name__ == "__main__":
    entry_point()
