"""A table of the paper as cells, each a `python -m condense run`: measured, kept, printed.

A table is a list of cells and a settings class with a field for each of its axes; a field that is
set chooses cells. What is measured is a row of results/TABLE.csv and is not measured again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, NoReturn

from benchmarks.commands import cores, machine, run_to_the_end
from benchmarks.rows import RESULTS, Row, markdown, read_rows, write_rows
from condense import command_line
from condense.errors import UserError, at_least, unknown

OFFICIAL = {
    "mnist": 60_000,
    "fashionmnist": 60_000,
    "svhn": 73_257,
    "cifar10": 50_000,
    "cifar100": 50_000,
}
"""Training images of the data sets that the paper was measured on."""
PAPERS_SETS, PAPERS_NETWORKS = 5, 20

Figure = tuple[float, float]
"""Mean and standard deviation, in per cent."""


@dataclass(frozen=True)
class Cells:
    """What all tables have; a table adds its axes."""

    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    sets: int = 1
    """Condensed sets of each cell, of the seeds 0, 1, …; the paper has 5."""
    runs: Path = Path("runs/tables")
    """Where the run folders go."""
    show: bool = False
    """Measure nothing, print what there is."""

    def __post_init__(self) -> None:
        at_least(1, self, "sets")


@dataclass(frozen=True)
class Cell:
    """One cell: where it stands, the command that measures it, and the paper's figure."""

    axes: Mapping[str, str | int]
    """Its place by the name of each axis."""
    flags: Sequence[str]
    """Of `python -m condense run`."""
    paper: Figure | None = None
    """None where the paper has none."""
    dataset: str = field(kw_only=True)
    alike: bool = True
    """Whether the paper's figure was had with these flags at the `paper` preset; what it took from
    the authors of other methods was not."""

    @property
    def name(self) -> str:
        """Of its run folders."""
        return "-".join(map(str, self.axes.values()))

    def wanted(self, settings: Cells) -> bool:
        """Whether the settings ask for it: an axis that is not set asks for all."""
        chosen = {axis: getattr(settings, axis) for axis in self.axes}
        return all(not asked or self.axes[axis] in asked for axis, asked in chosen.items())


def measure(table: str, cell: Cell, settings: Cells) -> Row:
    """Run the cell's command for each seed; the row that is kept of it."""
    found, threads = [], cores()
    flags = ["--dataset", cell.dataset, *cell.flags]
    flags += ["--preset", settings.preset, "--device", settings.device]
    for seed in range(settings.sets):
        out = settings.runs / table / settings.preset / f"{cell.name}-s{seed}"
        seeded = [*flags, "--seed", str(seed)]
        found.append(run_to_the_end(["condense", "run"], seeded, out, threads))
    configs, summaries = zip(*found, strict=True)
    values = [100 * value for summary in summaries for value in summary["accuracies"]]
    return {
        **cell.axes,
        "value": f"{fmean(values):.3f}",
        "std": f"{stdev(values):.3f}" if len(values) > 1 else "",
        "n": len(values),
        "sets": settings.sets,
        "seeds": f"0-{settings.sets - 1}",
        "preset": settings.preset,
        "command": f"python -m condense run {' '.join(flags)}",
        "train": configs[0]["data"]["train"],
        "images": configs[0]["data"]["sha256"],
        "device": summaries[0]["device"],
        "seconds": f"{sum(summary['seconds'] for summary in summaries):.0f}",
        "version": configs[0]["version"],
        "commit": configs[0]["commit"],
        **machine(threads),
    }


def row_of(cell: Cell, rows: Iterable[Row], preset: str) -> Row | None:
    """The row of a cell at a preset, of the most sets where there are several."""
    mine = [
        row
        for row in rows
        if row["preset"] == preset and all(row[a] == str(v) for a, v in cell.axes.items())
    ]
    return max(mine, key=lambda row: int(row["sets"]), default=None)


def is_papers(row: Row, cell: Cell) -> bool:
    """Whether a row was measured as the paper's was, so that the two may be compared."""
    whole = int(row["n"]) >= PAPERS_SETS * PAPERS_NETWORKS
    images = int(row["train"]) == OFFICIAL.get(cell.dataset)
    return cell.alike and row["preset"] == "paper" and whole and images


def lines(cells: Sequence[Cell], rows: Sequence[Row], preset: str) -> Iterator[str]:
    """The table in Markdown: ours, the paper's, and the difference where they may be compared."""
    header = [*cells[0].axes, "ours", "measured", "paper", "difference"]
    return markdown(header, (shown(cell, row_of(cell, rows, preset)) for cell in cells))


def shown(cell: Cell, row: Row | None) -> list[str]:
    """A cell's line of the table."""
    paper = f"{cell.paper[0]:.1f} ± {cell.paper[1]:.1f}" if cell.paper else ""
    ours = measured = difference = ""
    if row:
        spread = f" ± {float(row['std']):.1f}" if row["std"] else ""
        scale = "as in the paper" if is_papers(row, cell) else f"reduced ({row['preset']})"
        ours, measured = f"{float(row['value']):.1f}{spread}", f"n = {row['n']}, {scale}"
        if cell.paper and is_papers(row, cell):
            difference = f"{float(row['value']) - cell.paper[0]:+.1f}"
    return [*map(str, cell.axes.values()), ours, measured, paper, difference]


def fill(table: str, cells: Iterable[Cell], settings: Cells) -> None:
    """Measure the cells that the settings ask for and that are not there, and print them all.

    Raises:
        UserError: a place is asked for where the table has no cell, what was kept is damaged, or a
            command fails.
    """
    cells = list(cells)
    for axis in cells[0].axes:
        there = {str(cell.axes[axis]) for cell in cells}
        for asked in map(str, getattr(settings, axis)):
            if asked not in there:
                raise unknown(axis.replace("_", " "), asked, there)
    wanted = [cell for cell in cells if cell.wanted(settings)]
    if not wanted:
        raise UserError(f"{table} has no such cell")
    path = RESULTS / f"{table}.csv"
    rows = read_rows(path)
    if rows and not {*cells[0].axes, "preset", "sets"} <= rows[0].keys():
        raise UserError(f"{path} is damaged: mend it or move it away")
    for cell in [] if settings.show else wanted:
        before = row_of(cell, rows, settings.preset)
        if before and int(before["sets"]) >= settings.sets:
            continue
        rows = [row for row in rows if row is not before]
        rows.append(measure(table, cell, settings))
        write_rows(path, rows)
        print(f"{cell.name}: {rows[-1]['value']} % in {rows[-1]['seconds']} s", flush=True)
    print("\n".join(lines(wanted, read_rows(path), settings.preset)))


def main(table: str, settings: type[Cells], cells: Iterable[Cell]) -> NoReturn:
    """The command of a table, `python -m benchmarks.TABLE`: as the flags ask, fill and print it."""

    def run(argv: list[str]) -> None:
        fill(table, cells, command_line.read_flags(settings, argv, f"python -m benchmarks.{table}"))

    command_line.main(run)
