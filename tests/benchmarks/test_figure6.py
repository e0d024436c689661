"""Synthetic images on their way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from benchmarks.paper import figure5
from benchmarks.paper.figure6 import (
    SHOWN,
    Figure6,
    Moments,
    evolution,
    moments,
    run,
    tiles,
)
from condense import Checkpoint, ImageData, Progress, UserError, condense, method_named
from condense.methods.gradient_matching import Matcher
from tests.helpers.processes import ROOT


def test_moments() -> None:
    assert moments(20) == [0, 1, 2, 5, 10, 20]
    assert moments(1000) == [0, 31, 62, 125, 250, 500, 1000]
    assert moments(2) == [0, 1, 2]


def test_from_the_start_to_the_set_that_is_condensed(data: ImageData, tmp_path: Path) -> None:
    for start in ("noise", "real"):
        settings = Figure6(preset="smoke", seed=3, runs=tmp_path)
        seen = evolution(settings, data, start)
        matching = method_named("dsa").preset("smoke", init=start)
        assert torch.equal(seen[0], Matcher(data, matching, 3).initial_images())
        assert list(seen) == [0, 1, 2]
        assert not torch.equal(seen[1], seen[2])
        made = condense(data, "dsa", matching, seed=3)
        assert torch.equal(data.denormalise(seen[2]).flatten(0, 1), made.images)


def test_what_another_figure_has_condensed_is_no_evolution(data: ImageData, tmp_path: Path) -> None:
    figure5.measure(figure5.Figure5(preset="smoke", runs=tmp_path), data, "dsa")
    assert list(evolution(Figure6(preset="smoke", runs=tmp_path), data, "real")) == [0, 1, 2]


def test_an_interrupted_evolution_goes_on(
    data: ImageData, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole = evolution(Figure6(preset="smoke", runs=tmp_path / "whole"), data, "noise")
    iterations = request.getfixturevalue("iterations")
    settings = Figure6(preset="smoke", runs=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        evolution(settings, data, "noise")
    for _ in range(2):  # the second time all is there
        seen = evolution(settings, data, "noise")
        assert list(seen) == list(whole)
        assert all(torch.equal(seen[number], whole[number]) for number in whole)
    assert iterations == [0, 1, 1]


def test_moments_come_back_in_their_order(tmp_path: Path) -> None:
    with Moments(tmp_path / "kept.safetensors", [1, 2, 10], Progress(quiet=True)) as checkpointer:
        for outer in range(1, 12):
            checkpointer.save(Checkpoint({"plane0": torch.tensor([outer])}, {"iteration": outer}))
    restored = Moments(tmp_path / "kept.safetensors", [1, 2, 10], Progress(quiet=True))
    before = restored.restore()
    assert before is not None
    assert (before.state, before.tensors["plane0"].item()) == ({"iteration": 11}, 11)
    assert [(number, images.item()) for number, images in restored.seen.items()] == [
        *((1, 1), (2, 2), (10, 10))
    ]


def test_every_image_is_in_its_place(data: ImageData) -> None:
    """Grey says which class, image and moment it is."""
    labels, places = [2, 0], [0, 7]
    evolved = {
        moment: data.normalise(
            torch.stack(
                [torch.arange(SHOWN + 1) * 10 + label * 50 + moment for label in range(3)]
            ).to(torch.uint8)[..., None, None, None].expand(-1, -1, *data.shape)
        )
        for moment in places
    }  # fmt: skip
    picture = tiles(data, evolved, labels)
    side = data.shape[1] + 2
    assert picture.shape == (3, SHOWN * len(labels) * side + 2, len(places) * side + 2)
    for row in range(SHOWN * len(labels)):
        for column, moment in enumerate(places):
            grey = labels[row // SHOWN] * 50 + (row % SHOWN) * 10 + moment
            shown = picture[:, row * side + side // 2, column * side + side // 2]
            assert (shown * 255).round().tolist() == [grey] * 3


def test_the_command_as_a_user_runs_it(tmp_path: Path, command: Any) -> None:
    here = {"PYTHONPATH": str(ROOT)}
    flags = ("--dataset", "digits", "--preset", "smoke", "--device", "cpu", "--results", ".")
    command("benchmarks.paper.figure6", *flags, "--classes", "3", "8", **here)
    with Image.open(tmp_path / "figure6.png") as picture:
        said = json.loads(picture.info["Description"])
    assert said["command"].endswith("--classes 3 8")
    assert (said["dataset"], said["preset"], said["train"]) == ("digits", "smoke", 1438)


def test_a_class_that_is_not_there() -> None:
    with pytest.raises(UserError, match="unknown class 'automobile'; known: "):
        run(["--dataset", "digits", "--preset", "smoke", "--device", "cpu"])
