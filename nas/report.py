"""The results of a search: the entries of its summary, two figures, and the printed text."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from condense.runs.plots import as_text, count_on, new_figure, save
from condense.runs.report import indented, text_table
from condense.runs.report import per_cent as shown_per_cent
from nas.ranking import Correlation, correlation, order, rank, spearman, top_count
from nas.table import TABLE, GroundTruth, Row, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def ranked(table: Table) -> list[Row]:
    """The rows with a score, the best first."""
    scored = [row for row in table.rows if row.score is not None]
    return [scored[index] for index in order([score(row) for row in scored])]


def score(row: Row) -> float:
    """The score of a complete row."""
    assert row.score is not None
    return row.score


def agreement(table: Table, top_fraction: float) -> dict[str, Any]:
    """How well the table's ranking, and the ranking by size as baseline, fit the ground truth.

    The same entries if no architecture is in the ground truth; then each n is 0.
    """
    known = [(row, row.ground_truth) for row in ranked(table) if row.ground_truth is not None]
    ground_truth = [value for _, value in known]
    found = rank([score(row) for row, _ in known], ground_truth, top_fraction).as_dict()
    by_size = correlation(spearman, [float(row.parameters) for row, _ in known], ground_truth)
    baseline = {"spearman_all": by_size.value, "spearman_all_interval": [by_size.low, by_size.high]}
    return {**found, "baseline_parameters": {**baseline, "spearman_all_n": by_size.n}}


def regret(
    ground_truth: GroundTruth | None, accuracy: float | None, retrained: int | None
) -> float | None:
    """The best accuracy of the ground truth minus this one; None if either is unknown.

    Also None if the selected architecture is not in the ground truth and each network was
    `retrained` with another number of steps. Negative if it is not in the ground truth and better
    than its best.
    """
    if ground_truth is None or ground_truth.best is None or accuracy is None:
        return None
    return ground_truth.best - accuracy if retrained in (None, ground_truth.steps) else None


def correlation_of(summary: Mapping[str, Any], name: str) -> Correlation:
    """A correlation from the summary entries of `agreement`."""
    low, high = summary[f"{name}_interval"]
    return Correlation(summary[name], low, high, summary[f"{name}_n"])


def lines(summary: Mapping[str, Any], table: Table) -> str:
    """A summary as text, with the reason of a failure from the table."""
    ranked, space = summary["n_complete"], summary["space_size"]
    reason = summary["retrained_reason"]
    after = f" (training failed: {reason})" if reason else _regret(summary)
    rows = [
        ("selected architecture", summary["best"]),
        ("its accuracy, whole set", per_cent(summary["best_accuracy"]) + after),
    ]
    if summary["spearman_all_n"]:
        top = f"Spearman, top {100 * summary['top_fraction']:g} %"
        baseline = summary["baseline_parameters"]
        rows += [
            (top, str(correlation_of(summary, "spearman_top"))),
            ("Spearman, all", str(correlation_of(summary, "spearman_all"))),
            ("Kendall, all", str(correlation_of(summary, "kendall_all"))),
            ("Spearman, parameters only", str(correlation_of(baseline, "spearman_all"))),
        ]
    first = (
        f"{summary['dataset']}, proxy {summary['proxy']}: {ranked} of {space} architectures ranked"
        + _not_ranked(summary)
    )
    cached = " (from the cache)" if summary["proxy_from_cache"] else ""
    last = (
        f"training {summary['seconds_search']:.0f} s, condensation of the proxy "
        f"{summary['seconds_proxy']:.0f} s{cached}, wall time {summary['seconds_wall']:.0f} s; "
        f"{summary['images']} images"
    )
    return "\n".join([first, *map(indented, [text_table(rows), *_failure(table), last])])


def per_cent(accuracy: float | None) -> str:
    """An accuracy as text, in per cent."""
    return "–" if accuracy is None else shown_per_cent(accuracy)


def _regret(summary: Mapping[str, Any]) -> str:
    ground_truth, retrained = summary["ground_truth"], summary["retrained_steps"]
    if summary["regret"] is not None:
        return f", regret {per_cent(summary['regret'])}"
    if ground_truth and retrained:
        its = ground_truth["steps"]
        return f" after {retrained} steps per network (no regret: the ground truth has {its})"
    return ""


def _not_ranked(summary: Mapping[str, Any]) -> str:
    names = {"pruned": "pruned", "failed": "failed", "n_remaining": "not trained"}
    counts = [f"{summary[key]} {name}" for key, name in names.items() if summary[key]]
    return f" ({', '.join(counts)})" if counts else ""


def _failure(table: Table) -> list[str]:
    """Why the first of the failed architectures failed, in a line; none if none has."""
    reasons = [f"{row.architecture}: {row.reason}" for row in table.rows if row.status == "failed"]
    others = f"; the other reasons are in {TABLE}" if len(reasons) > 1 else ""
    return [f"failed: {reason}{others}" for reason in reasons[:1]]


def plot_scatter(path: Path, table: Table, top_fraction: float, label: str) -> None:
    """Write the scatter plot of a search as a PNG file."""
    figure = new_figure(4.5, 3.8)
    scatter(figure.add_subplot(), ranked(table), top_fraction, label)
    save(figure, path)


def scatter(axes: Axes, rows: Sequence[Row], top_fraction: float, label: str) -> None:
    """Plot the ground truth of ranked rows over their scores, with the proxy's top marked (the
    paper's Figure 4).

    Without a ground truth: the scores over the number of parameters.
    """
    known = [(row, row.ground_truth) for row in rows if row.ground_truth is not None]
    label = as_text(label)
    named = f"{label} accuracy (%)" if any(row.accuracy is not None for row in rows) else label
    if known:
        top = top_count(len(known), top_fraction)
        marked = ((known[top:], "others"), (known[:top], f"top {100 * top_fraction:g} %"))
        for part, name in marked:
            axes.scatter(
                [_shown(row) for row, _ in part],
                [100 * ground_truth for _, ground_truth in part],
                12,
                label=name,
            )
        axes.set_xlabel(named)
        axes.set_ylabel("whole-set accuracy (%)")
        axes.legend()
    else:
        axes.scatter([row.parameters for row in rows], [_shown(row) for row in rows], 12)
        axes.set_xlabel("parameters")
        axes.set_ylabel(named)
    if not known or named == label:
        axes.set_xscale("log")
    axes.grid(alpha=0.3)


def plot_ranking(path: Path, table: Table, label: str) -> None:
    """Write the plot of `ranking` as a PNG file."""
    figure = new_figure(4.5, 3.2)
    axes = figure.add_subplot()
    ranking(axes, ranked(table), label)
    save(figure, path)


def ranking(axes: Axes, rows: Sequence[Row], label: str) -> None:
    """Plot the best ground truth among the first k ranked rows over k, and that of each row.

    Without a ground truth: the scores.
    """
    known = [row for row in rows if row.ground_truth is not None]
    values = [100 * (row.ground_truth or 0.0) for row in known] or [_shown(row) for row in rows]
    places = range(1, len(values) + 1)
    best = list(itertools.accumulate(values, max))
    (line,) = axes.plot(places, best, drawstyle="steps-post", label=as_text(label))
    axes.scatter(places, values, s=8, alpha=0.5, color=line.get_color())
    axes.set_xlabel("rank by the proxy")
    count_on(axes.xaxis)
    axes.set_ylabel("whole-set accuracy (%)" if known else "score")
    axes.grid(alpha=0.3)
    axes.legend()


def _shown(row: Row) -> float:
    return score(row) if row.accuracy is None else 100 * row.accuracy
