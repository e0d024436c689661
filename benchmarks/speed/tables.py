"""The speed tables of docs/results.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from benchmarks.rows import Row, numbers, spread
from benchmarks.speed.problem import PartName, Speed
from benchmarks.speed.time_to_accuracy import VARIANTS
from condense.runs.report import markdown_table

PARTS = (*get_args(PartName), "outer iteration, added up")
SAME = (
    "dataset",
    "ipc",
    "reference_iterations",
    "width",
    "seed",
    "threads",
    "processor",
    "images",
)
"""Rows of time_to_accuracy.csv that are equal in these columns form one line."""
MACHINE = ("processor", "threads")
PROBLEMS = (Speed(), Speed(precision="bfloat16"))


def speed_table(rows: Iterable[Row]) -> str:
    """Speedup over the reference by part: median [range] over n rounds on a CPU.

    Only rows of the machine measured last; of several rows of a part, the last counts. The
    roofline is that of float32 arithmetic.
    """
    measured = [row for row in rows if row["device"] == "cpu"]
    found = {
        (row["problem"], row["what"]): row
        for row in measured
        if all(row[name] == measured[-1][name] for name in MACHINE)
    }
    lines = []
    for part in PARTS:
        mine = [found.get((problem.problem, part)) for problem in PROBLEMS]
        if exact := mine[0]:
            lines.append([part, *map(_ratio, mine), f"{float(exact['roofline_ratio']):.1f}"])
    return markdown_table(["", "exactly the same", "in bfloat16", "roofline of float32"], lines)


def speedup_table(rows: Iterable[Row]) -> str:
    """Seconds until a set is as good as the reference's, and the speedup."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        about = tuple(row[name] for name in SAME)
        seconds, times = float(row["seconds"]), row["speedup"]
        shown = f"{seconds:.1f} ({float(times):.1f})" if times else f"not in {seconds:.1f}"
        groups.setdefault(about, {})[row["variant"]] = shown
    lines = [
        [f"{dataset}, {ipc}, K = {iterations}", *(cells.get(variant, "") for variant in VARIANTS)]
        for (dataset, ipc, iterations, *_), cells in groups.items()
    ]
    return markdown_table(["", *VARIANTS], lines)


def busy_table(rows: Iterable[Row]) -> str:
    """Seconds of each command, alone and beside a busy process, by number of threads."""
    cells: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows:
        seconds = numbers(row["seconds"])
        found = f"{spread(seconds)} (n = {len(seconds)})"
        cells.setdefault(row["command"], {})[row["threads"], row["beside"]] = found
    conditions = list(dict.fromkeys(condition for row in cells.values() for condition in row))
    heads = [f"{threads} threads, beside {beside} (s)" for threads, beside in conditions]
    return markdown_table(
        ["command", *heads],
        (
            [f"`{command}`", *(found.get(condition, "") for condition in conditions)]
            for command, found in cells.items()
        ),
    )


def _ratio(row: Row | None) -> str:
    if row is None:
        return ""
    ratio, low, high = (float(row[name]) for name in ("ratio", "ratio_min", "ratio_max"))
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}], n = {row['rounds']}"
