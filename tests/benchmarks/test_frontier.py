from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks.paper import frontier
from benchmarks.paper.frontier_figure import Point, draw, points
from benchmarks.rows import read_rows
from condense import load
from condense.errors import UserError

TRAINING = '{"steps": 5, "network": {"precision": "float32"}}'


def test_measured_once_and_shown(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--datasets", "digits", "--ipc", "1", "--recipes", "random", "--labels", "hard"]
    small = ["--num-eval", "2", "--steps", "3", "--width", "4", "--results", str(tmp_path)]
    for _ in range(2):
        frontier.run([*flags, *small])
    (row,) = read_rows(tmp_path / frontier.FILE)
    assert (row["dataset"], row["recipe"], row["images_per_class"]) == ("digits", "random", "1")
    assert len(row["accuracies"].split()) == 2
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| digits | 1 | 4 | 3 | random | 1 | ")
    assert last.endswith("(1 × 2) |  |  |  |")
    frontier.run([*flags, *small, "--held-out"])
    held = read_rows(tmp_path / frontier.FILE)[1]
    assert held["tested_on"] == "held out"
    assert held["images"] != row["images"]
    frontier.run([*flags, *small, "--precision", "bfloat16"])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| digits | 1 | 4, bfloat16 | 3 | random | 1 | ")


def test_held_out_images_are_not_condensed() -> None:
    whole, held = (frontier.load_images("digits", held_out) for held_out in (False, True))
    assert len(held.x_train) + len(held.x_test) == len(whole.x_train)
    assert held.y_test.bincount().tolist() == [n // 10 for n in whole.y_train.bincount().tolist()]


def test_a_class_of_few_images_is_not_held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    few = load("digits").with_classes([3, 4])
    rows = torch.cat(
        [row[:size] for row, size in zip(few.train_indices_by_class(), (7, 25), strict=True)]
    )
    monkeypatch.setattr("condense.data.loading.load", lambda name: few.train_subset(rows))
    held = frontier.load_images("few", held_out=True)
    assert held.y_train.bincount().tolist() == [7, 23]
    assert held.y_test.bincount(minlength=2).tolist() == [0, 2]


def test_an_unknown_recipe_is_one_line() -> None:
    with pytest.raises(UserError, match="unknown recipe 'dsa'"):
        frontier.run(["--recipes", "dsa"])


def test_the_figure_averages_sets_and_networks(tmp_path: Path) -> None:
    row = {
        **{"dataset": "cifar10", "recipe": "random", "ipc": "10", "labels": "hard", "width": "32"},
        **{"tested_on": "test", "evaluation": TRAINING, "bytes": "3000"},
    }
    rows = [
        {**row, "cpu_seconds": "0.0", "accuracies": "10 20"},
        {**row, "cpu_seconds": "4.0", "accuracies": "40 50"},
        {**row, "cpu_seconds": "9.0", "accuracies": "90", "tested_on": "held out"},
        {**row, "cpu_seconds": "9.0", "accuracies": "90", "dataset": "mnist"},
    ]
    expected = [Point("random", 10, "hard", 32, 2.0, 3.0, 30.0)]
    assert points(rows) == expected
    other = {"evaluation": TRAINING.replace("float32", "bfloat16")}
    assert points([*rows, {**rows[1], **other}])[:1] == expected
    draw(rows, tmp_path / "figure.png")
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width > picture.height > 300
    draw(rows[2:], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


def test_the_table_of_held_out_images() -> None:
    row = {"dataset": "cifar10", "ipc": "1", "labels": "hard", "images_per_class": "50"}
    row |= {"evaluation": TRAINING}
    rows = [
        {**row, "tested_on": "held out", "recipe": "herding, DCT", "accuracies": "40 42"},
        {**row, "tested_on": "held out", "recipe": "DM, DCT", "accuracies": "48"},
        {**row, "tested_on": "test", "recipe": "random, DCT", "accuracies": "1"},
    ]
    last = frontier.held_out_table(rows).splitlines()[-1]
    assert last == "| cifar10 | 1 | 5 | 50 |  | 41.0 ± 1.4 | 48.0 |  |  |"


def test_all_training_images_have_no_size_and_are_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        frontier, "draw", lambda rows, path: drawn.append([row["recipe"] for row in rows])
    )
    flags = ["--datasets", "digits", "--ipc", "1", "2", "--labels", "hard", "soft"]
    small = ["--num-eval", "1", "--steps", "2", "--width", "4", "--results", str(tmp_path)]
    frontier.run([*flags, "--recipes", frontier.WHOLE, *small])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| digits | all | 4 | 2 | all training images | 143 | ")
    assert last.endswith("(1 × 1) |  |  |  |")
    assert drawn == [[]]
