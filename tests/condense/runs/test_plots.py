"""Figures as PNG files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
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
