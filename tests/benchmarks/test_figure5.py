"""How large the gradients are that are matched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.paper.figure5 import (
    IMAGES,
    Figure5,
    Magnitudes,
    gradient_norms,
    measure,
    norms,
    spread,
)
from benchmarks.rows import read_rows
from condense import ImageData, generator, initialise, method_named
from condense.methods.gradient_matching import Matcher
from tests.helpers.processes import ROOT

DC = method_named("dc").preset("smoke", ipc=2)


def test_norms_by_hand() -> None:
    gradients = {
        "conv": torch.tensor([[[3.0, 0.0]], [[0.0, 1.0]]]),
        "linear": torch.tensor([[4.0], [-1.0]]),
    }
    assert norms(gradients).tolist() == pytest.approx([5, 2**0.5])


def test_the_first_step_is_what_autograd_finds(data: ImageData) -> None:
    matcher = Matcher(data, DC, seed=0)
    images = matcher.initial_images()
    initialise(matcher.network, generator(0, "outer", 7))
    weights = [weight for weight in matcher.network.parameters() if weight.ndim > 1]
    expected = []
    for label, batch in enumerate(images):
        loss = F.cross_entropy(matcher.network(batch), torch.tensor([label] * len(batch)))
        gradients = torch.autograd.grad(loss, weights)
        expected.append(sum(float(part.square().sum()) for part in gradients) ** 0.5)
    found = gradient_norms(matcher, matcher.synthetic(images), 7)
    assert found.synthetic[0].tolist() == pytest.approx(expected, rel=1e-4)
    assert len(found.synthetic) == len(found.real) == matcher.outer_loop
    values = [float(spread(found, 0)[f"synthetic_{name}"]) for name in ("mean", "min", "max")]
    mean = sum(expected) / len(expected)
    assert values == pytest.approx([mean, min(expected), max(expected)], rel=1e-4)


def test_a_step_has_all_classes_however_they_are_matched(data: ImageData) -> None:
    found = []
    for chunks in ([slice(0, data.classes)], [slice(0, 1), slice(1, data.classes)]):
        matcher = Matcher(data, DC, seed=0)
        matcher.class_chunks = chunks
        found.append(gradient_norms(matcher, matcher.synthetic(matcher.initial_images()), 7))
    whole, parts = found
    for kind in IMAGES:
        assert len(getattr(parts, kind)) == matcher.outer_loop
        for one, other in zip(getattr(parts, kind), getattr(whole, kind), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_real_and_synthetic_are_not_exchanged(data: ImageData) -> None:
    matcher = Matcher(data, DC, seed=0)
    found = Magnitudes(matcher)
    one, two = ({"w": torch.full((3, 4, 1), value)} for value in (1.0, 2.0))
    matcher.distance(one, two)
    assert found.synthetic[0].tolist() == [2.0] * 3
    assert found.real[0].tolist() == [4.0] * 3


def test_looking_changes_nothing(data: ImageData) -> None:
    moved = []
    for look in (False, True):
        matcher = Matcher(data, DC, seed=0)
        synthetic = matcher.synthetic(matcher.initial_images())
        if look:
            gradient_norms(matcher, synthetic, 0)
        else:
            matcher.outer_iteration(synthetic, 0)
        moved.append(synthetic.images())
    assert torch.equal(*moved)


def test_what_is_condensed_is_not_condensed_again(
    data: ImageData, tmp_path: Path, iterations: list[int]
) -> None:
    settings = Figure5(preset="smoke", runs=tmp_path / "runs")
    with pytest.raises(KeyboardInterrupt):
        measure(settings, data, "dsa")
    resumed = measure(settings, data, "dsa")
    assert iterations == [0, 1, 1, 2]
    assert measure(settings, data, "dsa") == resumed
    assert iterations[4:] == [2]
    elsewhere = replace(settings, runs=tmp_path / "others")
    assert measure(elsewhere, data, "dsa") == resumed


def test_the_command_as_a_user_runs_it(tmp_path: Path, command: Any) -> None:
    flags = ("--dataset", "digits", "--preset", "smoke", "--device", "cpu", "--results", "found")
    here = {"PYTHONPATH": str(ROOT)}
    printed = command("benchmarks.paper.figure5", *flags, **here).stdout.splitlines()
    rows = read_rows(tmp_path / "found" / "figure5.csv")
    assert [(row["condensed"], row["t"]) for row in rows] == [
        *(("without DSA", "0"), ("without DSA", "1"), ("with DSA", "0"), ("with DSA", "1"))
    ]
    assert len(printed) == len(rows)
    for row in rows:
        for kind in IMAGES:
            low, mean, high = (float(row[f"{kind}_{name}"]) for name in ("min", "mean", "max"))
            assert 0 < low < mean < high
        assert row["command"] == f"python -m benchmarks.paper.figure5 {' '.join(flags)}"
        for column in ("preset", "seed", "images", "device", "version", "date", "torch"):
            assert row[column]
    with Image.open(tmp_path / "found" / "figure5.png") as picture:
        assert picture.size[0] > 1.5 * picture.size[1]
