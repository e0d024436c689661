"""The documents' tables and a figure, from the files in results/: `python -m benchmarks.tables`.

Prints the tables, writes them between their marks in docs/results.md and docs/choices.md, and plots
figure3.png like `python -m benchmarks.paper.figure3`. Tables contain measurements only: a cell
without a measurement stays empty. README.md quotes some of the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import own_images
from benchmarks.continual import equal_bytes, split_streams
from benchmarks.continual.main_job import REPLAYS
from benchmarks.paper import (
    figure3,
    frontier,
    gtn_curve,
    proxies,
    table1,
    table2,
    table3,
    table4,
    table5,
)
from benchmarks.paper.cells import Cell, markdown, row_of
from benchmarks.result_files import NAMES, Result, results, stream_runs
from benchmarks.rows import RESULTS, Row, difference, read_rows, spread
from benchmarks.speed import ranks, sizes
from benchmarks.speed.tables import busy_table, speed_table, speedup_table
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.io import atomic_write
from condense.runs.report import markdown_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCUMENTS = (ROOT / "docs" / "results.md", ROOT / "docs" / "choices.md")
PARTS = {
    "factor-1": "10 images",
    "factor-2": "factor 2",
    "factor-2-balanced": "factor 2, logits, balanced batches",
    "factor-2-balanced-iterations-100": "factor 2, logits, balanced batches, 100 iterations",
    "factor-2-balanced-depth-2": "factor 2, logits, balanced batches, depth 2",
    "factor-3-balanced": "factor 3, logits, balanced batches",
    "dct-balanced": "DCT, balanced batches",
    "factor-1-iterations-100": "10 images, 100 iterations, lr_img 1, lr_net 0.05",
}
"""By part of the main job: the settings of the memory and its replay."""


def mnist_table(kept: Mapping[str, Result]) -> str:
    """Test accuracy of new networks trained on a condensed MNIST, by size and method.

    The networks are trained with the augmentation of DSA, and without.
    """

    def cell(method: str, ipc: int, augmented: bool) -> str:
        found = [
            result["summary"]
            for result in kept.values()
            if result["command"] == "python -m condense run"
            and (result["summary"]["method"], result["summary"]["ipc"]) == (method, ipc)
            and (result["settings"]["evaluation"]["augment"] != "none") == augmented
        ]
        values = [100 * value for summary in found for value in summary["accuracies"]]
        return f"{spread(values)} ({len(found)} × {len(values) // len(found)})" if found else ""

    return markdown_table(
        ["images per class", "tested with augmentation", *NAMES.values()],
        (
            [str(ipc), "yes" if augmented else "no", *(cell(m, ipc, augmented) for m in NAMES)]
            for ipc, augmented in ((1, True), (10, True), (10, False))
        ),
    )


def continual_table(kept: Mapping[str, Result]) -> str:
    """Accuracy over the tasks so far after each stage, by memory, with and without distillation.

    Rows without any measurement are left out.
    """

    def cells(memory: str, part: str, distill: bool) -> Iterator[str]:
        found = stream_runs(kept, "domain", memory, distill, part)
        runs = [result["summary"] for result in found]
        for stage in range(3):
            yield spread([100 * run["average_accuracy"][stage] for run in runs])
        yield str(len(runs) or "")

    stages = ["T1", "T2", "T3", "n"]
    return markdown_table(
        ["memory", "replay", *stages, *(f"{stage} distilled" for stage in stages)],
        (
            [NAMES[memory], PARTS[part], *found]
            for part, (_, memories) in REPLAYS.items()
            for memory in memories
            if any(found := [*cells(memory, part, False), *cells(memory, part, True)])
        ),
    )


def gains_table(kept: Mapping[str, Result]) -> str:
    """DSA at T3 without distillation, beside the other memories with the same replay and beside
    herding with EEIL's replay."""

    def by_seed(memory: str, part: str) -> dict[int, float]:
        return {
            result["settings"]["common"]["seed"]: 100 * result["summary"]["average_accuracy"][2]
            for result in stream_runs(kept, "domain", memory, False, part)
        }

    others = ("herding", "dc", "random")
    lines = []
    for part in REPLAYS:
        if ours := by_seed("dsa", part):
            theirs = [*(by_seed(other, part) for other in others), by_seed("herding", "factor-1")]
            gains = [difference(ours, values) for values in theirs]
            lines.append([PARTS[part], *gains, str(len(ours))])
    compared = [f"− {NAMES[other]}" for other in others]
    return markdown_table(
        ["memory and replay", *compared, "− herding, 10 images, EEIL's replay", "n of DSA"], lines
    )


def heads_table(kept: Mapping[str, Result]) -> str:
    """As `continual_table` for the other heads, one seed each; DSA condensed like whole images."""

    def row(head: str, memory: str) -> list[str]:
        runs = [result["summary"] for result in stream_runs(kept, head, memory, False)]
        stages = (spread([100 * run["average_accuracy"][s] for run in runs]) for s in range(3))
        return [head, NAMES[memory], *stages, str(len(runs) or "")]

    rows = [row(head, memory) for head in ("task", "class") for memory in ("herding", "dsa")]
    return markdown_table(["head", "memory", "T1", "T2", "T3", "n"], rows)


def search_table(rows: list[Row]) -> str:
    """Accuracy and regret of each proxy's selection, and its rank correlation with ground truth."""

    def correlation(row: Row, name: str) -> str:
        value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    (top,) = {float(row["top_fraction"]) for row in rows}
    heads = [
        "proxy",
        "images",
        "selected architecture's accuracy (%)",
        "regret",
        f"Spearman, top {100 * top:g} %",
    ]
    return markdown_table(
        [*heads, "Spearman, all", "Kendall, all", "minutes"],
        (
            [
                row["proxy"],
                row["images_stored"],
                f"{100 * float(row['accuracy']):.1f}",
                f"{100 * float(row['regret']):.1f}",
                *(
                    correlation(row, name)
                    for name in ("spearman_top", "spearman_all", "kendall_all")
                ),
                f"{float(row['seconds_wall']) / 60:.1f}",
            ]
            for row in rows
            if not float(row["steps_saved"])
        ),
    )


def split_table(rows: list[Row]) -> str:
    """EEIL and Avalanche's strategies on class-incremental streams, at the cpu preset."""
    return split_streams.table([row for row in rows if row["preset"] == "cpu"])


def cells_table(name: str, cells: Iterable[Cell], preset: str = "cpu") -> str:
    """A table of the paper, with the cells measured at a preset."""
    rows = read_rows(RESULTS / f"{name}.csv")
    filled = [cell for cell in cells if row_of(cell, rows, preset)]
    return markdown(filled, rows, preset) if filled else ""


TABLES: dict[str, Callable[[Mapping[str, Result]], str]] = {
    "mnist": mnist_table,
    "continual": continual_table,
    "gains": gains_table,
    "heads": heads_table,
    "split": lambda _: split_table(read_rows(RESULTS / "split_streams.csv")),
    "search": lambda _: search_table(read_rows(RESULTS / "table6.csv")),
    "proxies": lambda _: proxies.table(read_rows(RESULTS / proxies.FILE)),
    "frontier": lambda _: frontier.table(read_rows(RESULTS / frontier.FILE)),
    "held_out": lambda _: frontier.held_out_table(read_rows(RESULTS / frontier.FILE)),
    "own_images": lambda _: own_images.table(read_rows(RESULTS / own_images.FILE)),
    "equal_bytes": lambda _: equal_bytes.table(read_rows(RESULTS / equal_bytes.FILE)),
    "speedup": lambda _: speedup_table(read_rows(RESULTS / "time_to_accuracy.csv")),
    "speed": lambda _: speed_table(read_rows(RESULTS / "speed.csv")),
    "busy": lambda _: busy_table(read_rows(RESULTS / "busy.csv")),
    "ranks": lambda _: ranks.table(read_rows(RESULTS / ranks.FILE)),
    "sizes": lambda _: sizes.table(read_rows(RESULTS / sizes.FILE)),
    "table1_paper": lambda _: cells_table("table1", table1.cells(), "paper"),
    "table2_paper": lambda _: cells_table("table2", table2.cells(), "paper"),
    "table1": lambda _: cells_table("table1", table1.cells()),
    "table2": lambda _: cells_table("table2", table2.cells()),
    "table3": lambda _: cells_table("table3", table3.cells()),
    "table4": lambda _: cells_table("table4", table4.cells()),
    "gtn_curve": lambda _: gtn_curve.table(read_rows(RESULTS / gtn_curve.FILE)),
    "table5": lambda _: cells_table("table5", table5.cells()),
}


def filled(text: str, kept: Mapping[str, Result]) -> str:
    """`text` with each table between `<!-- NAME -->` and `<!-- end -->` replaced by a new one."""

    def table(mark: re.Match[str]) -> str:
        return f"<!-- {mark[1]} -->\n{TABLES[mark[1]](kept)}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


@dataclass(frozen=True)
class Tables:
    """Print the documents' tables, write them into the documents, and plot figure 3."""


def run(argv: list[str]) -> None:
    """Print, fill in and plot."""
    read_flags(Tables, argv, "python -m benchmarks.tables")
    kept = results()
    for document in DOCUMENTS:
        text = filled(document.read_text(encoding="utf-8"), kept)
        with atomic_write(document) as aside:
            aside.write_text(text, encoding="utf-8")
    figure3.plot(kept, figure3.PATH)
    for name, table in TABLES.items():
        print(f"{name}\n{table(kept)}\n")


if __name__ == "__main__":
    main(run)
