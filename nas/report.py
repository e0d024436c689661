"""What a search comes to: the summary, two pictures, and lines for the screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from condense import atomic_write
from nas.ranking import Correlation, correlation, order, rank, spearman, top_count
from nas.table import Row, Table, Truth


def ranked(table: Table) -> list[Row]:
    """The rows that have a score, the best first."""
    scored = [row for row in table.rows if row.score is not None]
    return [scored[index] for index in order([score(row) for row in scored])]


def score(row: Row) -> float:
    """What a complete row is ranked by."""
    assert row.score is not None
    return row.score


def agreement(table: Table, top_fraction: float) -> dict[str, Any]:
    """How well the table's ranking agrees with its truth, and that by size as the baseline."""
    known = [(row, row.truth) for row in ranked(table) if row.truth is not None]
    if not known:
        return dict.fromkeys(("spearman_top", "spearman_all", "kendall_all"))
    truth = [value for _, value in known]
    found = rank([score(row) for row, _ in known], truth, top_fraction).as_dict()
    by_size = correlation(spearman, [float(row.parameters) for row, _ in known], truth)
    baseline = {"spearman_all": by_size.value, "spearman_all_interval": [by_size.low, by_size.high]}
    return {**found, "baseline_parameters": {**baseline, "spearman_all_n": by_size.n}}


def regret(truth: Truth | None, accuracy: float | None, retrained: int | None) -> float | None:
    """How far below the truth's best accuracy this one is; None where either is not known.

    None too where a pick that the truth does not have was `retrained` in another number of updates
    than the truth's. Negative where such a pick is better than all that the truth has.
    """
    if truth is None or truth.best is None or accuracy is None:
        return None
    return truth.best - accuracy if retrained in (None, truth.updates) else None


def correlation_of(summary: Mapping[str, Any], name: str) -> Correlation:
    """A correlation as `agreement` has put it into a summary."""
    low, high = summary.get(f"{name}_interval") or (None, None)
    return Correlation(summary.get(name), low, high, summary.get(f"{name}_n") or 0)


def lines(summary: Mapping[str, Any]) -> str:
    """A summary in words."""
    evaluated, space = summary["evaluated"], summary["space_size"]
    said = [
        f"{summary['dataset']}, proxy {summary['proxy']}: {evaluated} of {space} architectures "
        f"ranked" + _left_out(summary),
        f"  best by the proxy           {summary['best']}",
        f"  retrained on the whole set  {per_cent(summary['best_accuracy'])}" + _below(summary),
    ]
    if "baseline_parameters" in summary:
        top = summary["top_fraction"]
        said += [
            f"  Spearman, top {100 * top:.0f} %          {correlation_of(summary, 'spearman_top')}",
            f"  Spearman, all               {correlation_of(summary, 'spearman_all')}",
            f"  Kendall, all                {correlation_of(summary, 'kendall_all')}",
        ]
        size = correlation_of(summary["baseline_parameters"], "spearman_all")
        said.append(f"  Spearman of size alone      {size}")
    said.append(
        f"  {summary['seconds_search']:.0f} s of training, {summary['seconds_proxy']:.0f} s to "
        f"make the proxy{', which was in the cache' if summary['proxy_from_cache'] else ''}, "
        f"{summary['seconds_wall']:.0f} s in all; {summary['images']} images"
    )
    return "\n".join(said)


def per_cent(accuracy: float | None) -> str:
    """An accuracy for the screen."""
    return "–" if accuracy is None else f"{100 * accuracy:.1f} %"


def _below(summary: Mapping[str, Any]) -> str:
    truth, retrained = summary["truth"], summary["retrained_updates"]
    if summary["regret"] is not None:
        return f", {per_cent(summary['regret'])} below the best known"
    if truth and retrained:
        return f" in {retrained} updates; the truth's {truth['updates']} do not compare"
    return ""


def _left_out(summary: Mapping[str, Any]) -> str:
    said = [f"{summary[key]} {key}" for key in ("pruned", "failed", "left") if summary[key]]
    return f" ({', '.join(said)})" if said else ""


def draw_scatter(path: Path, table: Table, top_fraction: float, label: str) -> None:
    """The scatter of a search as a PNG picture."""
    figure = Figure(figsize=(4.5, 3.8), layout="constrained")
    scatter(figure.add_subplot(), ranked(table), top_fraction, label)
    write(figure, path)


def scatter(axes: Axes, rows: Sequence[Row], top_fraction: float, label: str) -> None:
    """The truth of ranked rows over their scores, the proxy's top marked (the paper's Figure 4).

    Where no truth is known, their scores over their sizes.
    """
    known = [(row, row.truth) for row in rows if row.truth is not None]
    label = _literal(label)
    named = f"{label} accuracy (%)" if any(row.accuracy is not None for row in rows) else label
    if known:
        top = top_count(len(known), top_fraction)
        marked = ((known[top:], "others"), (known[:top], f"top {100 * top_fraction:.0f} %"))
        for part, name in marked:
            axes.scatter(
                [_shown(row) for row, _ in part], [100 * truth for _, truth in part], 12, label=name
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


def draw_ranking(path: Path, table: Table, label: str) -> None:
    """What the architectures are worth in the order of their ranks, and the best so far."""
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    ranking(axes, ranked(table), label)
    write(figure, path)


def ranking(axes: Axes, rows: Sequence[Row], label: str) -> None:
    """The best truth among the first k of ranked rows, over k, and each one's."""
    known = [row for row in rows if row.truth is not None]
    values = [100 * (row.truth or 0.0) for row in known] or [_shown(row) for row in rows]
    places = range(1, len(values) + 1)
    best = [max(values[:place]) for place in places]
    (line,) = axes.plot(places, best, drawstyle="steps-post", label=_literal(label))
    axes.scatter(places, values, s=8, alpha=0.5, color=line.get_color())
    axes.set_xlabel("rank by the proxy")
    axes.set_ylabel("whole-set accuracy (%)" if known else "score")
    axes.grid(alpha=0.3)
    axes.legend()


def write(figure: Figure, path: Path) -> None:
    """A PNG picture, written atomically; the same bytes for the same picture."""
    with atomic_write(path) as aside:
        FigureCanvasAgg(figure).print_png(aside, metadata={"Software": None})


def _literal(label: str) -> str:
    """A label that matplotlib shows as it is, and takes no part of for a formula."""
    return label.replace("$", r"\$")


def _shown(row: Row) -> float:
    return score(row) if row.accuracy is None else 100 * row.accuracy
