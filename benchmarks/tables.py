"""The documents' tables and a figure, from the files in results/: `python -m benchmarks.tables`.

Prints the tables, writes them between their marks in README.md and benchmarks/README.md, and draws
figure3.png as `python -m benchmarks.figure3` does. A table shows what was measured and nothing
else: a cell without a measurement stays empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import figure3, split_streams, table1, table2, table3, table4, table5
from benchmarks.cells import Cell, lines, row_of
from benchmarks.main_job import CONDENSING, REHEARSALS
from benchmarks.measured import NAMES, Result, learnt, results
from benchmarks.rows import RESULTS, Row, markdown, read_rows, spread
from benchmarks.speed_tables import sooner_table, speed_table
from condense.command_line import main, read_flags
from condense.files import atomic_write

ROOT = Path(__file__).parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
PARTS = {
    "plain": "10 images",
    "small": "40 of half the side",
    "rehearsed": "40 of half the side, answers, half of each batch",
    "long": f"the same, condensed in {CONDENSING['long']['outer']} outer iterations in place of 20",
    "shallow": "40 of half the side, answers, half of each batch, condensed by a shallower network",
    "thirds": "90 of a third of the side, answers, half of each batch",
    "gentle": "10 images, condensed in {outer} iterations at rates of {image_lr:g} and "
    "{network_lr:g}".format(**CONDENSING["gentle"]),
}
"""By part of the main job: what a memory holds of each class, and how it enters."""


def mnist_table(kept: list[Result]) -> str:
    """Test accuracy of fresh networks trained on a condensed MNIST, by size and method.

    With the augmentation of DSA while they are trained, and without.
    """

    def cell(method: str, ipc: int, augmented: bool) -> str:
        found = [
            result["summary"]
            for result in kept
            if result["command"] == "python -m condense run"
            and (result["summary"]["method"], result["summary"]["ipc"]) == (method, ipc)
            and (result["settings"]["evaluation"]["augment"] != "none") == augmented
        ]
        values = [100 * value for summary in found for value in summary["accuracies"]]
        return f"{spread(values)} ({len(found)} × {len(values) // len(found)})" if found else ""

    return _table(
        ["images per class", "tested with augmentation", *NAMES.values()],
        (
            [str(ipc), "yes" if augmented else "no", *(cell(m, ipc, augmented) for m in NAMES)]
            for ipc, augmented in ((1, True), (10, True), (10, False))
        ),
    )


def continual_table(kept: list[Result]) -> str:
    """Accuracy over the tasks so far after each stage, by memory, with and without distillation.

    What has not been measured at all is left out.
    """

    def cells(memory: str, part: str, distill: bool) -> Iterator[str]:
        found = learnt(kept, "domain", memory, distill, part)
        runs = [result["summary"] for result in found]
        for stage in range(3):
            yield spread([100 * run["average_accuracy"][stage] for run in runs])
        yield str(len(runs) or "")

    stages = ["T1", "T2", "T3", "n"]
    return _table(
        ["memory", "rehearsed", *stages, *(f"{stage} distilled" for stage in stages)],
        (
            [NAMES[memory], PARTS[part], *found]
            for part, (_, memories) in REHEARSALS.items()
            for memory in memories
            if any(found := [*cells(memory, part, False), *cells(memory, part, True)])
        ),
    )


def heads_table(kept: list[Result]) -> str:
    """The same for the other heads, one seed each; DSA condensed like whole images."""

    def row(head: str, memory: str, part: str) -> list[str]:
        runs = [result["summary"] for result in learnt(kept, head, memory, False, part)]
        stages = (spread([100 * run["average_accuracy"][s] for run in runs]) for s in range(3))
        return [head, NAMES[memory], *stages, str(len(runs) or "")]

    ways = (("herding", "plain"), ("dsa", "rehearsed"))
    rows = [row(head, *way) for head in ("task", "class") for way in ways]
    return _table(["head", "memory", "T1", "T2", "T3", "n"], rows)


def search_table(rows: list[Row]) -> str:
    """What each proxy's pick is worth, and how well its ranking agrees with the truth."""

    def correlation(row: Row, name: str) -> str:
        value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
        return f"{value:.2f} [{low:.2f}, {high:.2f}]"

    (top,) = {float(row["top_fraction"]) for row in rows}
    heads = [
        "proxy",
        "images",
        "its pick (%)",
        "below the best",
        f"Spearman, top {100 * top:.0f} %",
    ]
    return _table(
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
            if not float(row["updates_saved"])
        ),
    )


def split_table(rows: list[Row], preset: str = "cpu") -> str:
    """EEIL and Avalanche's strategies on streams whose classes grow, measured at a preset."""
    return split_streams.table([row for row in rows if row["preset"] == preset])


def cells_table(name: str, cells: Iterable[Cell], preset: str = "cpu") -> str:
    """A table of the paper: the cells that have been measured at a preset."""
    rows = read_rows(RESULTS / f"{name}.csv")
    filled = [cell for cell in cells if row_of(cell, rows, preset)]
    return "\n".join(lines(filled, rows, preset)) if filled else ""


TABLES: dict[str, Callable[[list[Result]], str]] = {
    "mnist": mnist_table,
    "continual": continual_table,
    "heads": heads_table,
    "split": lambda _: split_table(read_rows(RESULTS / "split_streams.csv")),
    "search": lambda _: search_table(read_rows(RESULTS / "table6.csv")),
    "sooner": lambda _: sooner_table(read_rows(RESULTS / "time_to_accuracy.csv")),
    "speed": lambda _: speed_table(read_rows(RESULTS / "speed.csv")),
    "table1": lambda _: cells_table("table1", table1.cells()),
    "table2": lambda _: cells_table("table2", table2.cells()),
    "table3": lambda _: cells_table("table3", table3.cells()),
    "table4": lambda _: cells_table("table4", table4.cells()),
    "table5": lambda _: cells_table("table5", table5.cells()),
}


def filled(text: str, kept: list[Result]) -> str:
    """`text` with each table between its marks `<!-- NAME -->` and `<!-- end -->` made anew."""

    def table(mark: re.Match[str]) -> str:
        return f"<!-- {mark[1]} -->\n{TABLES[mark[1]](kept)}\n<!-- end -->"

    return re.sub(rf"<!-- ({'|'.join(TABLES)}) -->.*?<!-- end -->", table, text, flags=re.DOTALL)


def _table(header: list[str], rows: Iterable[list[str]]) -> str:
    return "\n".join(markdown(header, rows))


@dataclass(frozen=True)
class Tables:
    """Print the documents' tables, write them into the documents, and draw figure 3."""


def run(argv: list[str]) -> None:
    """Print, fill in and draw."""
    read_flags(Tables, argv, "python -m benchmarks.tables")
    kept = results()
    for document in DOCUMENTS:
        text = filled(document.read_text(encoding="utf-8"), kept)
        with atomic_write(document) as aside:
            aside.write_text(text, encoding="utf-8")
    figure3.draw(kept, figure3.PATH)
    for name, table in TABLES.items():
        print(f"{name}\n{table(kept)}\n")


if __name__ == "__main__":
    main(run)
