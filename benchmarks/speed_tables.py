"""How quick the engine is, as tables of benchmarks/README.md."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from benchmarks.problem import Part, Speed
from benchmarks.rows import Row, markdown
from benchmarks.time_to_accuracy import VARIANTS

PARTS = (*get_args(Part), "outer iteration, added up")
ALIKE = ("dataset", "ipc", "outer", "width", "seed", "threads", "processor", "images")
"""What rows of time_to_accuracy.csv have in common that stand in one line."""
MACHINE = ("processor", "threads")
PROBLEMS = (Speed(), Speed(precision="bfloat16"))


def speed_table(rows: Iterable[Row]) -> str:
    """Times as quick as the literal version, by part: median [range] of so many rounds on a CPU.

    On the machine that was measured last; of several rows of a part the last counts. The floor is
    that of float32 arithmetic.
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
            lines.append([part, *map(_ratio, mine), f"{float(exact['floor_ratio']):.1f}"])
    return "\n".join(markdown(["", "exactly the same", "in bfloat16", "floor of float32"], lines))


def sooner_table(rows: Iterable[Row]) -> str:
    """Seconds until a set is as good as the literal version's, and how many times as soon."""
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        alike = tuple(row[name] for name in ALIKE)
        seconds, times = float(row["seconds"]), row["sooner"]
        shown = f"{seconds:.1f} ({float(times):.1f})" if times else f"not in {seconds:.1f}"
        groups.setdefault(alike, {})[row["variant"]] = shown
    lines = [
        [f"{dataset}, {ipc}, K = {outer}", *(cells.get(variant, "") for variant in VARIANTS)]
        for (dataset, ipc, outer, *_), cells in groups.items()
    ]
    return "\n".join(markdown(["", *VARIANTS], lines))


def _ratio(row: Row | None) -> str:
    if row is None:
        return ""
    ratio, low, high = (float(row[name]) for name in ("ratio", "ratio_min", "ratio_max"))
    return f"{ratio:.2f} [{low:.2f}, {high:.2f}], n = {row['rounds']}"
