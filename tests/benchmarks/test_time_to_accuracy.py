"""Time to accuracy: what is measured, that a tiny one runs to its end and goes on row by row."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.optim import SGD

from benchmarks.speed import reference, time_to_accuracy, trials
from benchmarks.speed.time_to_accuracy import (
    CHANGES,
    VARIANTS,
    TimeToAccuracy,
    markdown,
    measure,
)
from condense import UserError, load
from condense.config.methods import GradientMatching
from condense.config.presets import PRESETS
from condense.evaluation import Accuracy
from condense.methods.gradient_matching import Matcher


@pytest.fixture
def tiny(tmp_path: Path) -> TimeToAccuracy:
    return TimeToAccuracy(
        "digits", iterations=2, width=4, num_eval=2, epoch_eval_train=3, held_out=100, threads=1,
        results=tmp_path / "rows.csv",
    )  # fmt: skip


def here(backend, threads, function, *arguments):
    """In place of a process of its own."""
    return function(*arguments)


def test_the_choices_are_those_of_the_cpu_preset() -> None:
    chosen = [field for fields in CHANGES.values() for field in fields]
    assert len(chosen) == len(set(chosen))
    assert {*chosen, "iterations", "network"} == set(PRESETS["cpu"][GradientMatching])


def test_a_variant_makes_its_own_choice_alone(tiny: TimeToAccuracy) -> None:
    plain, ours = tiny.matching("reference"), PRESETS["cpu"][GradientMatching]
    assert tiny.matching("engine") == plain
    assert (plain.init, plain.batch_real, plain.loops()) == ("real", 256, (1, 1))
    assert tiny.matching("batch_real") == replace(plain, batch_real=ours["batch_real"])
    whole = {**ours, "iterations": plain.iterations, "network": plain.network}
    assert tiny.matching("cpu preset") == GradientMatching(ipc=1, **whole)


def test_images_are_held_out_of_the_training_split(tiny: TimeToAccuracy) -> None:
    whole, data = load("digits"), tiny.case().data()
    assert len(data.x_test) == 100
    assert len(data.x_train) == len(whole.x_train) - 100
    pixels = torch.cat([data.x_train, data.x_test]).flatten(1).sum(1).sort().values
    assert torch.equal(pixels, whole.x_train.flatten(1).sum(1).sort().values)
    assert torch.equal(data.x_test, tiny.case().data().x_test)
    with pytest.raises(UserError, match="use a smaller --held-out"):
        replace(tiny, held_out=5000).case().data()


def test_a_tiny_one_runs_to_its_end_and_is_not_run_again(
    tiny: TimeToAccuracy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "in_a_process", here)
    rows = measure(tiny)
    assert tuple(rows) == VARIANTS
    assert rows["reference"]["reached"] == "yes"
    assert rows["cpu preset"]["settings"].count("=") >= 8
    assert set(pd.read_csv(tiny.results)["seed"]) == {0}
    monkeypatch.setattr(trials, "in_a_process", lambda *_: pytest.fail("measured again"))
    assert measure(tiny) == rows
    assert markdown(rows).count("\n") == 1 + len(VARIANTS)


def test_it_goes_on_with_the_row_that_is_missing(
    tiny: TimeToAccuracy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one = trials.Trial(2, 3.0, Accuracy((0.5, 0.7)))
    asked = []

    def answer(threads, as_engine, function, case, settings, *rest):
        asked.append((as_engine, settings, *rest[:-1]))
        return one if len(asked) < 3 else None

    monkeypatch.setattr(trials, "in_a_process", answer)
    assert tuple(measure(tiny)) == VARIANTS[:2]
    assert f"time is up before {VARIANTS[2]}" in capsys.readouterr().out
    asked.clear()
    rows = measure(tiny)
    assert [call[1] for call in asked[:2]] == [tiny.matching(name) for name in VARIANTS[2:4]]
    assert asked[0] == (True, tiny.matching(VARIANTS[2]), one)
    assert tuple(rows) == VARIANTS[:4]
    other = replace(tiny, seed=1)
    assert time_to_accuracy.kept(other, tiny.case().data().fingerprint()) == {}


def test_the_reference_trial_is_the_reference_implementation(tiny: TimeToAccuracy) -> None:
    case, settings = tiny.case(), tiny.matching("reference")
    found = trials.reference_trial(case, settings, deadline=1e12)
    data = case.data()
    images = Matcher(data, settings, 0).initial_images().requires_grad_()
    optimizer = SGD([images], settings.lr_img, momentum=settings.mom_img)
    for k in range(2):
        reference.outer_iteration(data, settings, images, optimizer, 0, k)
    assert found is not None
    assert (found.iterations, found.accuracy) == (2, case.test(images, data))
    assert trials.reference_trial(case, settings, deadline=0) is None


@pytest.mark.parametrize(
    ("schedule", "runs"), [("constant", [0, 1, 2, 3]), ("cosine", [0, 0, 1, 0, 1, 2, 3])]
)
def test_the_engine_runs_until_it_has_caught_up(
    tiny: TimeToAccuracy, monkeypatch: pytest.MonkeyPatch, schedule: str, runs: list[int]
) -> None:
    settings = replace(tiny.matching("engine"), lr_img_schedule=schedule)
    accuracies = iter((0.1, 0.2, 0.3, 0.6))
    steps = []
    monkeypatch.setattr(Matcher, "outer_iteration", lambda self, synthetic, k: steps.append(k))
    monkeypatch.setattr(trials.Case, "test", lambda *_: Accuracy((next(accuracies),)))
    goal = trials.Trial(9, 1e9, Accuracy((0.5,)))
    found = trials.engine_trial(tiny.case(), settings, goal, deadline=1e12)
    assert found is not None
    assert (found.iterations, found.accuracy.mean, steps) == (4, 0.6, runs)
    assert found.below is not None
    accuracies = iter((0.1, 0.2))
    late = trials.engine_trial(tiny.case(), settings, replace(goal, seconds=0.0), deadline=1e12)
    assert late is not None
    assert (late.iterations, late.accuracy.mean) == (0, 0.1)
    accuracies = iter((0.1, 0.2))
    assert trials.engine_trial(tiny.case(), settings, goal, deadline=0) is None
