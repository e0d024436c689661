"""Figures as PNG files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from condense.errors import UserError
from condense.runs.plots import new_figure, save
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
