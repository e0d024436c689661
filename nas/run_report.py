"""The sections of report.html of `python -m nas.search`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from condense import CondensedSet, RunFolder
from condense.distribution import install_extra
from condense.runs.changes import Change
from condense.runs.html_report import Bar, Block, Code, Picture, Report, Section, Table, Text, write
from condense.runs.report_sections import (
    HERE,
    as_flag,
    as_flags,
    common_flags,
    provenance_section,
    settings_section,
)
from condense.runs.run_dir import CONDENSED
from condense.strips import strips
from nas import report
from nas.settings import CHANGING_NOTHING, UNCONDENSED, label
from nas.storage import JOURNAL
from nas.table import TABLE, GroundTruth, Row
from nas.table import Table as Architectures

BEST = 10
"""Architectures in the table."""
RANKED = ("space", "n_trials", "image_size", "top_fraction")
"""Settings of a search that every search with the same ground truth shares."""
COMPARED = (*RANKED, "ground_truth", "prune", "retraining.")
"""Settings, and a group of them, that searches with different proxies share."""
BYTES = ("ipc", "storage", "factor", "image_bytes", "short_classes")
CONDENSED_ALIKE = ("training.", *(f"condensing.{name}" for name in BYTES))
"""Settings that searches with different condensed proxies share too."""
LOAD = """import json, pandas

pandas.read_csv("architectures.csv")          # every architecture, with its score
json.load(open("summary.json"))["best"]       # the name of the selected one"""


def dashboard_command(folder: str, storage: str | None) -> str:
    """The command that opens optuna-dashboard on the study of a run.

    Args:
        folder: the run folder, as the user writes it.
        storage: the database as it may be shown; None: the file in the run folder.
    """
    where = storage if storage is not None else f"{folder.rstrip('/')}/{JOURNAL}"
    return f"optuna-dashboard {shlex.quote(where)}"


def dashboard_missing() -> str:
    """What to install before `dashboard_command` works; empty if it is there."""
    if find_spec("optuna_dashboard"):
        return ""
    return f" (first: {install_extra('dashboard')})"


def write_report(
    folder: RunFolder,
    table: Architectures,
    summary: Mapping[str, Any],
    ground_truth: GroundTruth | None,
    differing: Sequence[Change],
) -> None:
    """Write the report of a search.

    Args:
        folder: of the run, with its figures and the set of the proxy.
        table: all architectures.
        summary: the content of summary.json, without times.
        ground_truth: the accuracies on the whole set, if known.
        differing: the settings that differ from the preset.
    """
    proxy, accuracy = label(summary["proxy"]), summary["best_accuracy"]
    sections = [Section("Agreement with the ground truth", _agreement(summary))]
    known = ground_truth is not None
    against = "accuracy on the whole set" if known else "number of parameters"
    best = "ground truth" if known else "score"
    pictures = [
        Picture(
            folder.path / "scatter.png", f"Every architecture: score on the proxy, and {against}."
        ),
        Picture(folder.path / "ranking.png", f"The best {best} among the first k of the ranking."),
    ]
    sections += [Section("Scores", pictures), Section("The best by the proxy", [_best(table)])]
    if (folder.path / CONDENSED).is_file():
        made = strips(CondensedSet.load(folder.path / CONDENSED))
        sections.append(Section("The proxy", [made]))
    sections += [
        Section("Use the results", [Code(f"{HERE}:", LOAD)]),
        Section("What to run next", _next(folder, summary, differing)),
        settings_section(folder.config, differing, CHANGING_NOTHING),
        provenance_section(folder.config),
    ]
    page = Report(
        title=f"{summary['dataset']}, proxy {proxy}: {summary['best']}",
        command=folder.config["command"],
        figure=report.per_cent(accuracy) if accuracy is not None else str(summary["best"]),
        about=_about(summary),
        bars=_bars(summary, ground_truth),
        note=_note(summary),
        sections=sections,
    )
    write(folder.path, page)


def _about(summary: Mapping[str, Any]) -> str:
    ranked = f"{summary['n_complete']} of {summary['space_size']} architectures were ranked"
    if summary["best_accuracy"] is None:
        reason = summary["retrained_reason"]
        failed = f"Its training on the whole set failed: {reason}"
        trained = failed if reason else "It was not trained on the whole set."
        return f"The architecture with the best score; {ranked}. {trained}"
    return f"Accuracy of the selected architecture, trained on the whole set; {ranked}."


def _bars(summary: Mapping[str, Any], ground_truth: GroundTruth | None) -> list[Bar]:
    accuracy = summary["best_accuracy"]
    # Retrained for another number of steps, it cannot be compared.
    if ground_truth is None or not ground_truth.accuracies or summary["regret"] is None:
        return []
    known = list(ground_truth.accuracies.values())
    mean, best = sum(known) / len(known), max(known)
    return [
        Bar("selected by the proxy", accuracy, report.per_cent(accuracy), main=True),
        Bar("best of the ground truth", best, report.per_cent(best)),
        Bar("one at random, on average", mean, report.per_cent(mean)),
    ]


def _note(summary: Mapping[str, Any]) -> str:
    if summary["ground_truth"] is None:
        return "No ground truth was given: --ground-truth RUN compares the ranking with one."
    regret = summary["regret"]
    return "" if regret is None else f"Regret: {100 * regret:.1f} points."


def _agreement(summary: Mapping[str, Any]) -> list[Block]:
    if not summary["spearman_all_n"]:
        return [Text("There is no ground truth to compare the ranking with.")]
    found = report.correlation_of
    rows = [
        ("Spearman, all", str(found(summary, "spearman_all")),
         str(found(summary["baseline_parameters"], "spearman_all"))),
        (f"Spearman, top {100 * summary['top_fraction']:g} %",
         str(found(summary, "spearman_top")), "–"),
        ("Kendall, all", str(found(summary, "kendall_all")), "–"),
    ]  # fmt: skip
    return [Table(rows, ["rank correlation", "this proxy", "by the number of parameters"])]


def _best(table: Architectures) -> Table:
    def cells(place: int, row: Row) -> list[str]:
        score = (
            f"{report.score(row):.4g}" if row.accuracy is None else report.per_cent(row.accuracy)
        )
        whole = report.per_cent(row.ground_truth)
        return [str(place), row.architecture, score, whole, f"{row.parameters:,}"]

    rows = [cells(place, row) for place, row in enumerate(report.ranked(table)[:BEST], 1)]
    return Table(rows, ["rank", "architecture", "score", "ground truth", "parameters"])


def _next(
    folder: RunFolder, summary: Mapping[str, Any], differing: Sequence[Change]
) -> list[Block]:
    kept = folder.config["settings"]
    search = ["python -m nas.search", as_flag("dataset", kept["dataset"])]
    search += common_flags(kept["common"])
    other = "dsa" if summary["proxy"] == "random" else "random"
    condensed = summary["proxy"] not in UNCONDENSED
    compared = (*COMPARED, *(CONDENSED_ALIKE if condensed else ()))
    lines, about = [], "Where the command was run, for another proxy to compare:"
    if summary["ground_truth"] is None:
        lines.append([*search, *_shared(differing, RANKED), "--proxy whole"])
        about = "Where the command was run, for the ground truth and another proxy to compare:"
    lines.append([*search, *_shared(differing, compared), f"--proxy {other}"])
    several = f"{HERE}, several runs side by side, from their {TABLE}:"
    in_browser = "The study in a browser:"
    if kept["storage"] is None:
        in_browser = f"{HERE}, the study in a browser:"
    return [
        Code(about, "\n".join(map(" ".join, lines))),
        Code(several, "python -m nas.compare . OTHER_RUN"),
        Code(in_browser, dashboard_command(".", kept["storage"])),
    ]


def _shared(differing: Sequence[Change], names: tuple[str, ...]) -> list[str]:
    """The settings that differ from the preset and begin with one of these names, as flags."""
    return as_flags([change for change in differing if change.name.startswith(names)])
