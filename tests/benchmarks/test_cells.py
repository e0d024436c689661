"""The paper's tables: their cells, what is kept of a measured one, what is printed."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.paper import cells, table1, table2, table3, table4, table5
from benchmarks.paper.cells import (
    Cell,
    is_papers,
    markdown,
    row_of,
)
from benchmarks.rows import read_rows
from condense import Evaluation, Network, UserError, method_named
from condense.__main__ import _run_defaults
from condense.cli.flags import parse
from tests.helpers.processes import ROOT

TABLES = {
    "table1": (table1, 111),
    "table2": (table2, 10),
    "table3": (table3, 36),
    "table4": (table4, 56),
    "table5": (table5, 30),
}
CELL = Cell({"ipc": 1, "method": "dsa"}, ["--ipc", "1"], (88.7, 0.6), dataset="mnist")


def measured(**changes: object) -> dict[str, str]:
    row = {
        "ipc": 1, "method": "dsa", "value": 88.0, "std": 0.5, "n": 100, "sets": 5,
        "preset": "paper", "train": 60000, "command": "python -m condense run --preset paper",
    }  # fmt: skip
    return {key: str(value) for key, value in {**row, **changes}.items()}


@pytest.mark.parametrize("name", TABLES)
def test_every_cell_has_a_place_of_its_own(name: str) -> None:
    module, count = TABLES[name]
    all_cells = list(module.cells())
    assert len({cell.name for cell in all_cells}) == len(all_cells) == count
    settings = next(
        kind for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, cells.Cells) and kind is not cells.Cells
    )  # fmt: skip
    assert all(axis in settings.__dataclass_fields__ for axis in all_cells[0].axes)


@pytest.mark.parametrize("method", ["random", "dsa", "dd"])
def test_cells_at_the_cpu_preset_are_whole_images_and_the_papers_schedule(method: str) -> None:
    cell = Cell({}, ["--method", method, "--ipc", "1"], dataset="mnist")
    asked = parse(_run_defaults, cells.flags_of(cell, cells.Cells(preset="cpu")), "test")
    assert asked.settings == method_named(method).preset("cpu", ipc=1, storage="float32")
    assert asked.evaluation == Evaluation(
        num_eval=5, epoch_eval_train=300, network=Network(width=32)
    )


def test_every_cell_is_a_valid_command_at_every_preset() -> None:
    parsed = set()
    for module, _ in TABLES.values():
        for cell in module.cells():
            for preset in ("cpu", "paper"):
                flags = cells.flags_of(cell, cells.Cells(preset=preset, precision="bfloat16"))
                but_the_dataset = tuple(flags[2:])  # whose name is no matter of parsing
                if but_the_dataset not in parsed:
                    parse(_run_defaults, flags, "test")
                parsed.add(but_the_dataset)


def test_flags_of_a_cell_replace_those_of_its_table() -> None:
    cell = Cell({}, ["--method", "random", "--evaluation.lr", "0.1"], dataset="mnist")
    asked = parse(_run_defaults, cells.flags_of(cell, cells.Cells(networks=2)), "test")
    assert (asked.evaluation.lr, asked.evaluation.num_eval) == (0.1, 2)
    paper = parse(_run_defaults, cells.flags_of(cell, cells.Cells(preset="paper")), "test")
    assert paper.evaluation == Evaluation(num_eval=20, lr=0.1)


def test_the_papers_figures_that_its_text_quotes() -> None:
    by_place = {tuple(cell.axes.values()): cell.paper for cell in table1.cells()}
    assert by_place["mnist", 50, "dsa"] == (99.2, 0.1)
    gain = by_place["cifar10", 10, "dsa"][0] - by_place["cifar10", 10, "dc"][0]
    assert gain == pytest.approx(7.2)
    ours, bare = (
        next(c.paper for c in table4.cells() if tuple(c.axes.values()) == ("cifar10", s, "crop"))
        for s in ("ours", "A")
    )
    assert ours[0] - bare[0] == pytest.approx(3.6)
    strategies = {tuple(c.axes.values()): c.paper for c in table5.cells()}
    assert strategies["cifar10", "combination"] == by_place["cifar10", 10, "dsa"]
    assert strategies["cifar10", "crop"] == ours


def test_only_what_is_measured_as_in_the_paper_is_compared_with_it() -> None:
    assert is_papers(measured(), CELL)
    assert is_papers(measured(n=20, sets=1), CELL)
    for change in ({"preset": "cpu"}, {"train": 55000}):
        assert not is_papers(measured(**change), CELL)
    assert is_papers(measured(train=30000), replace(CELL, drawn=True))
    assert not is_papers(measured(), replace(CELL, comparable=False))
    assert markdown([CELL], [measured()], "paper").splitlines()[-1] == (
        "| 1 | dsa | 88.0 ± 0.5 | n = 100, as in the paper | 88.7 ± 0.6 | -0.7 |"
    )
    reduced = measured(preset="cpu", n=5, sets=1)
    assert markdown([CELL], [reduced], "cpu").splitlines()[-1] == (
        "| 1 | dsa | 88.0 ± 0.5 | n = 5, reduced (cpu) | 88.7 ± 0.6 |  |"
    )
    outside = markdown([CELL], [measured(value=90.0)], "paper").splitlines()[-1]
    assert outside.endswith("| 88.7 ± 0.6 | **+1.3** |")
    empty = markdown([CELL], [reduced], "paper").splitlines()[-1]
    assert empty == "| 1 | dsa |  |  | 88.7 ± 0.6 |  |"


def test_a_cell_says_its_epochs_and_the_precision_of_its_condensation() -> None:
    row = measured(command="python -m condense run --preset paper --precision bfloat16")
    assert "| n = 100, as in the paper, condensed in bfloat16 |" in markdown([CELL], [row], "paper")
    short = replace(CELL, note="5 epochs")
    assert "| n = 100, 5 epochs |" in markdown([short], [measured()], "paper")
    reduced = measured(preset="cpu")
    assert "| n = 100, reduced (cpu) |" in markdown([short], [reduced], "cpu")
    flags = cells.flags_of(CELL, cells.Cells(preset="paper", precision="bfloat16"))
    asked = parse(_run_defaults, flags, "test")
    assert asked.settings.network.precision == "bfloat16"
    assert asked.evaluation.network.precision == "float32"


def test_the_row_of_the_most_sets_counts() -> None:
    rows = [measured(sets=9, value=1), measured(sets=10, value=3), measured(ipc=10, sets=5)]
    assert row_of(CELL, rows, "paper") == rows[1]


def test_a_place_that_is_not_there() -> None:
    with pytest.raises(UserError, match="unknown dataset 'mnits'; known: mnist"):
        cells.fill("table1", table1.cells(), table1.Table1(dataset=("mnits",)))
    nowhere = table5.Table5(dataset=("mnist",), dsa_strategy=("flip",))
    with pytest.raises(UserError, match="table5 has no such cell"):
        cells.fill("table5", table5.cells(), nowhere)
    with pytest.raises(UserError, match="sets must be at least 1, not 0"):
        table1.Table1(sets=0)


def test_a_damaged_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    (tmp_path / "table1.csv").write_text("one,two\n1,2\n")
    with pytest.raises(UserError, match=r"table1\.csv is damaged"):
        cells.fill("table1", table1.cells(), table1.Table1(show=True))


def test_a_cell_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    def fake(command, flags, out, threads):
        ran.append(flags)
        config = {"data": {"train": 60000, "sha256": "ab"}, "version": "1", "commit": None}
        return config, {"accuracies": [0.5, 0.7], "device": "cpu", "seconds": 2.0}

    monkeypatch.setattr(cells, "RESULTS", tmp_path)
    monkeypatch.setattr(cells, "run_to_the_end", fake)
    settings = table1.Table1(method=("dsa",), ipc=(1,), dataset=("mnist",), sets=2)
    cells.fill("table1", table1.cells(), settings)
    assert [flags[flags.index("--seed") + 1] for flags in ran] == ["0", "1"]
    (row,) = read_rows(tmp_path / "table1.csv")
    assert (row["value"], row["std"]) == ("60.000", f"{100 * (0.04 / 3) ** 0.5:.3f}")
    assert (row["n"], row["seconds"]) == ("4", "4")
    cells.fill("table1", table1.cells(), settings)
    assert len(ran) == 2
    more = table1.Table1(method=("dsa",), ipc=(1,), dataset=("mnist",), sets=3)
    cells.fill("table1", table1.cells(), more)
    assert len(ran) == 5
    assert [row["sets"] for row in read_rows(tmp_path / "table1.csv")] == ["3"]
    cells.fill("table1", table1.cells(), replace(more, networks=2))
    assert len(ran) == 5
    cells.fill("table1", table1.cells(), replace(more, networks=3))
    assert len(ran) == 8
    cells.fill("table1", table1.cells(), replace(settings, sets=1, precision="bfloat16"))
    assert len(ran) == 9
    rows = read_rows(tmp_path / "table1.csv")
    assert [(row["sets"], cells.precision_of(row)) for row in rows] == [
        ("3", "float32"),
        ("1", "bfloat16"),
    ]


def test_a_table_as_a_user_fills_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cells, "RESULTS", tmp_path / "results")
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    cell = Cell({"method": "random"}, ["--method", "random", "--ipc", "1"], dataset="digits")

    class OneAxis(cells.Cells):
        method = ()

    cells.fill("mine", [cell], OneAxis(preset="smoke", runs=tmp_path / "runs"))
    (row,) = read_rows(tmp_path / "results" / "mine.csv")
    assert 5 < float(row["value"]) < 100
    assert (row["n"], row["train"], row["seeds"]) == ("2", "1438", "0-0")
    assert "n = 2, reduced (smoke)" in capsys.readouterr().out
    (first,) = (tmp_path / "runs" / "mine" / "smoke").iterdir()
    started = (first / "summary.json").stat().st_mtime_ns

    # Other flags are another run; a finished one is read.
    cells.fill("mine", [cell], OneAxis(preset="smoke", runs=tmp_path / "runs", networks=3))
    (tmp_path / "results" / "mine.csv").unlink()
    cells.fill("mine", [cell], OneAxis(preset="smoke", runs=tmp_path / "runs"))
    assert read_rows(tmp_path / "results" / "mine.csv") == [row]
    assert len(list(first.parent.iterdir())) == 2
    assert (first / "summary.json").stat().st_mtime_ns == started


def test_the_command_as_a_user_runs_it(command) -> None:
    here = {"PYTHONPATH": str(ROOT)}
    axes = ("--show", "--dataset", "mnist", "--ipc", "1", "--method", "dd", "dsa")
    shown = command("benchmarks.paper.table1", *axes, **here).stdout.splitlines()
    assert shown[0].startswith("| dataset | ipc | method | ours |")
    assert [line.split(" | ")[2] for line in shown[2:]] == ["dd", "dsa"]
    assert shown[3].endswith("| 88.7 ± 0.6 |  |")
    wrong = command("benchmarks.paper.table1", "--method", "dsb", code=2, **here)
    assert wrong.stderr.startswith("unknown method 'dsb'; known: ")
    usage = command("benchmarks.paper.table1", "--help", **here).stdout
    assert usage.startswith("usage: python -m benchmarks.paper.table1 ")
