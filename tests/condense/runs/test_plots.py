"""Figures as PNG files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from condense.errors import UserError
from condense.runs.plots import as_text, new_figure, plot_history, save
from tests.helpers.processes import python


def a_plot(path: Path, about: object = None) -> bytes:
    figure = new_figure(2, 1, dpi=50)
    figure.add_subplot().plot([0, 1], [1, 0])
    save(figure, path, about)
    return path.read_bytes()


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path) -> None:
    assert a_plot(tmp_path / "a.png") == a_plot(tmp_path / "b.png")


def test_a_file_says_what_it_shows(tmp_path: Path) -> None:
    about = {"seed": 3, "path": Path("x"), "accuracy": float("nan")}
    a_plot(tmp_path / "new" / "plot.png", about)
    with Image.open(tmp_path / "new" / "plot.png") as picture:
        assert picture.size == (100, 50)
        assert set(picture.info) & {"Software", "Description"} == {"Description"}
        said = json.loads(picture.info["Description"])
    assert said == {"seed": 3, "path": "x", "accuracy": None}


def test_a_file_that_cannot_be_written_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        a_plot(tmp_path / "file" / "plot.png")


def test_reports_do_without_matplotlib_until_they_plot() -> None:
    done = python(
        "import sys, continual.report, nas.report, condense.runs.plots; print(*sys.modules)"
    )
    assert "matplotlib" not in done.stdout.split()


@pytest.mark.parametrize(
    ("text", "plotted"),
    [
        ("step,loss,seed\n1,0.5,0\n2,0.25,0\n", True),
        ("step,a,b\n1,,x\n2,1e300,$^$\n", True),
        ("step,$^$\n1,2\n", True),
        ("step,loss\n", False),
        ("step,seed\n1,0\n", False),
        ("", False),
        ("step,loss\n1,2,3,4\n5\n", True),
    ],
)
def test_a_history_is_plotted_even_if_it_is_damaged(
    text: str, plotted: bool, tmp_path: Path
) -> None:
    (tmp_path / "history.csv").write_text(text)
    assert plot_history(tmp_path / "a.png", tmp_path / "history.csv", ("seed",)) == plotted
    assert (tmp_path / "a.png").exists() == plotted


def test_without_a_history_nothing_is_plotted(tmp_path: Path) -> None:
    assert not plot_history(tmp_path / "a.png", tmp_path / "none.csv")
    (tmp_path / "history.csv").write_bytes(b"step,loss\n\xff\n")
    assert not plot_history(tmp_path / "a.png", tmp_path / "history.csv")


@pytest.mark.parametrize("text", ["a$_$b", "_set.safetensors", "$x^2$"])
def test_any_text_is_drawn_as_it_is(text: str, tmp_path: Path) -> None:
    figure = new_figure(2, 1, dpi=50)
    axes = figure.add_subplot()
    axes.plot([0, 1], label=as_text(text))
    (label,) = axes.legend().get_texts()
    assert label.get_text().strip().replace(r"\$", "$") == text
    axes.set_xticks([0], [as_text(text)])
    save(figure, tmp_path / "a.png")


@pytest.mark.parametrize(
    ("values", "spread"),
    [
        ([100, 99.5, 60], 8),
        ([100], 0),
        ([99.99, 99.97], 0),
        ([0, 100], 0),
        ([3, 1], 4),
        ([30, 50], 0),
    ],
)
def test_an_axis_in_per_cent_has_no_number_below_0_or_above_100(
    values: list[float], spread: float, tmp_path: Path
) -> None:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.errorbar(range(len(values)), values, spread)
    axes.set_ylabel("accuracy (%)")
    save(figure, tmp_path / "a.png")
    low, high = axes.get_ylim()
    assert low < min(values) <= max(values) < high, "markers are drawn whole"
    shown = [tick for tick in axes.get_yticks() if low <= tick <= high]
    assert len(shown) >= 3
    assert all(0 <= tick <= 100 for tick in shown)
    assert -3 <= low <= high <= 103


def test_other_axes_end_where_their_values_do(tmp_path: Path) -> None:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([-100, 200], [-100, 200])
    limits = axes.get_ylim()
    save(figure, tmp_path / "a.png")
    assert axes.get_ylim() == limits == axes.get_xlim()


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_the_steps_of_a_history_are_whole_numbers(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr("condense.runs.plots.save", lambda figure, path: drawn.append(figure))
    rows = "".join(f"{step},0.5\n" for step in range(1, steps + 1))
    (tmp_path / "history.csv").write_text(f"step,loss\n{rows}")
    assert plot_history(tmp_path / "a.png", tmp_path / "history.csv")
    (figure,) = drawn
    ticks = figure.axes[0].get_xticks()
    assert len(ticks) > 0
    assert all(tick % 1 == 0 for tick in ticks)
