"""Condensed images side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.paper import figure2
from condense import UserError, condense, load, load_condensed, zoo_names
from tests.helpers.processes import ROOT

HERE = {"PYTHONPATH": str(ROOT)}


def test_the_sets_are_those_of_the_runs_else_of_the_zoo(tmp_path: Path) -> None:
    made = condense(load("digits"), "random", preset="smoke", ipc=2)
    made.save(tmp_path / "run" / "condensed.safetensors")
    folder, file = figure2.load([tmp_path / "run", tmp_path / "run" / "condensed.safetensors"])
    assert folder.images.equal(made.images)
    assert file.images.equal(made.images)
    named = [about["dataset"] for about in (found.provenance for found in figure2.load([]))]
    assert named == [name.removesuffix("-dsa-10") for name in zoo_names() if "-dsa-10" in name]
    with pytest.raises(UserError, match="there is no such file"):
        figure2.load([tmp_path])


def test_a_title_has_an_accuracy_where_one_was_measured() -> None:
    about = {"dataset": "mnist", "method": "dsa"}
    assert figure2.title(about) == "mnist dsa"
    assert figure2.title({**about, "accuracy": 0.954}) == "mnist dsa, 95.4 %"


def test_the_command_as_a_user_runs_it(tmp_path: Path, command: Any) -> None:
    assert "two.png" in command("benchmarks.paper.figure2", "--out", "two.png", **HERE).stdout
    with Image.open(tmp_path / "two.png") as picture:
        assert min(picture.size) > 500
        said = json.loads(picture.info["Description"])
        assert len(set(picture.convert("L").tobytes())) > 50, "there is nothing on it"
    assert said[0]["accuracy"] == load_condensed(said[0]["dataset"]).provenance["accuracy"]
