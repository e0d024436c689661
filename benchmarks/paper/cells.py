"""A table of the paper as cells, each measured by `python -m condense run`, saved and printed.

A table is a list of cells and a settings class with one field per axis; a field that is set
selects cells. A measurement is a row of results/TABLE.csv and is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, NoReturn

from benchmarks.commands import as_published, cores, machine, run_to_the_end
from benchmarks.rows import RESULTS, Row, add_rows, read_rows
from condense.cli import app
from condense.cli.flags import read_flags
from condense.errors import UserError, unknown
from condense.runs.report import markdown_table
from condense.validation import at_least

OFFICIAL = {
    "mnist": 60_000,
    "fashionmnist": 60_000,
    "svhn": 73_257,
    "cifar10": 50_000,
    "cifar100": 50_000,
}
"""Number of training images of the paper's data sets."""

Figure = tuple[float, float]
"""Mean and standard deviation, in per cent."""


@dataclass(frozen=True)
class Cells:
    """Settings shared by all tables; each table adds its axes."""

    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    sets: int = 1
    """Condensed sets per cell, with seeds 0, 1, …; the paper uses 5."""
    networks: int | None = None
    """New networks per set. None: 5 at the cpu preset, 20 at the paper preset, as in the paper."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the networks that condense. Sets are tested in float32."""
    runs: Path = Path("runs/tables")
    """Parent folder of the run folders."""
    show: bool = False
    """Measure nothing, only print the saved results."""

    def __post_init__(self) -> None:
        at_least(1, self, "sets", "networks")


@dataclass(frozen=True)
class Cell:
    """One cell: its axes, the flags of its command, and the paper's result."""

    axes: Mapping[str, str | int]
    """The cell's value on each axis, by name."""
    flags: Sequence[str]
    """Flags of `python -m condense run`."""
    paper: Figure | None = None
    """The paper's result; None if it has none."""
    dataset: str = field(kw_only=True)
    comparable: bool = True
    """Whether these flags at the `paper` preset are the paper's settings. They are not for results
    that the paper took from the authors of other methods."""
    drawn: bool = False
    """Whether the set is drawn at random, so that a part of the training images will do."""
    note: str = ""
    """What differs from the paper, for the table."""

    @property
    def name(self) -> str:
        """The prefix of its run folders."""
        return "-".join(map(str, self.axes.values()))

    def wanted(self, settings: Cells) -> bool:
        """Whether the settings select this cell; an axis that is not set selects all."""
        chosen = {axis: getattr(settings, axis) for axis in self.axes}
        return all(not asked or self.axes[axis] in asked for axis, asked in chosen.items())


def flags_of(cell: Cell, settings: Cells) -> list[str]:
    """The flags of `python -m condense run` for a cell, without the seed."""
    flags = ["--dataset", cell.dataset, *cell.flags]
    flags += ["--preset", settings.preset, "--device", settings.device]
    if settings.networks:
        flags += ["--evaluation.num-eval", str(settings.networks)]
    if settings.precision != "float32":
        flags += ["--precision", settings.precision]
    return flags + as_published(settings.preset, but=flags)


def measure(table: str, cell: Cell, settings: Cells) -> Row:
    """Run the cell's command for each seed. Returns the row to save."""
    found, threads = [], cores()
    flags = flags_of(cell, settings)
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
    """The row of a cell at a preset; of several, the one with the most sets."""
    mine = [
        row
        for row in rows
        if row["preset"] == preset and all(row[a] == str(v) for a, v in cell.axes.items())
    ]
    return max(mine, key=lambda row: int(row["sets"]), default=None)


def precision_of(row: Row) -> str:
    """Of the networks that condensed."""
    _, found, value = row["command"].partition(" --precision ")
    return value.split()[0] if found else "float32"


def is_papers(row: Row, cell: Cell) -> bool:
    """Whether a row was measured as in the paper, so that the two may be compared.

    Fewer sets or networks than the paper's 5 × 20 make a mean less precise, not another one.
    """
    images = cell.drawn or int(row["train"]) == OFFICIAL.get(cell.dataset)
    return cell.comparable and row["preset"] == "paper" and images


def difference(row: Row, paper: Figure) -> str:
    """Our mean − the paper's; bold if it exceeds the sum of both standard deviations."""
    found, spread = float(row["value"]) - paper[0], paper[1] + float(row["std"] or 0)
    shown = f"{round(found, 1) + 0.0:+.1f}"  # + 0.0: no minus before a zero
    return shown if abs(found) <= spread else f"**{shown}**"


def markdown(cells: Sequence[Cell], rows: Sequence[Row], preset: str) -> str:
    """The table in Markdown: our result, the paper's, and the difference if comparable."""
    header = [*cells[0].axes, "ours", "measured", "paper", "difference"]
    return markdown_table(header, (shown(cell, row_of(cell, rows, preset)) for cell in cells))


def shown(cell: Cell, row: Row | None) -> list[str]:
    """The table row of a cell."""
    paper = f"{cell.paper[0]:.1f} ± {cell.paper[1]:.1f}" if cell.paper else ""
    ours = measured = against = ""
    if row:
        spread = f" ± {float(row['std']):.1f}" if row["std"] else ""
        scale = "as in the paper" if is_papers(row, cell) else f"reduced ({row['preset']})"
        if cell.note and row["preset"] == "paper":
            scale = cell.note
        if precision_of(row) != "float32":
            scale += f", condensed in {precision_of(row)}"
        ours, measured = f"{float(row['value']):.1f}{spread}", f"n = {row['n']}, {scale}"
        if cell.paper and is_papers(row, cell):
            against = difference(row, cell.paper)
    return [*map(str, cell.axes.values()), ours, measured, paper, against]


def _suffices(row: Row, settings: Cells) -> bool:
    """Whether a row has the sets and the networks that are asked for."""
    sets = int(row["sets"])
    return sets >= settings.sets and int(row["n"]) >= sets * (settings.networks or 0)


def fill(table: str, cells: Iterable[Cell], settings: Cells) -> None:
    """Measure the selected cells that have no row yet, and print all selected cells.

    Raises:
        UserError: the table has no such cell, the CSV file is damaged, or a command fails.
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
        raise UserError(f"{path} is damaged: repair or remove it")
    for cell in [] if settings.show else wanted:
        mine = [row for row in read_rows(path) if precision_of(row) == settings.precision]
        before = row_of(cell, mine, settings.preset)
        if before and _suffices(before, settings):
            continue
        row = measure(table, cell, settings)
        add_rows(path, [row], instead_of=before)
        print(f"{cell.name}: {row['value']} % in {row['seconds']} s", flush=True)
    print(markdown(wanted, read_rows(path), settings.preset))


def main(table: str, settings: type[Cells], cells: Iterable[Cell]) -> NoReturn:
    """The command `python -m benchmarks.paper.TABLE`: measure and print the chosen cells."""

    def run(argv: list[str]) -> None:
        fill(table, cells, read_flags(settings, argv, f"python -m benchmarks.paper.{table}"))

    app.main(run)
