"""The speed comparison: what it computes, and that a tiny one runs to its end."""

from dataclasses import replace
from typing import get_args

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import benchmarks.speed.__main__ as speed
from benchmarks import workers
from benchmarks.speed import backends, problem, roofline, scaling
from condense.config.network import Network
from condense.models.build import build
from condense.seeds import generator

TINY = problem.Speed(
    threads=1,
    minutes=0,
    width=4,
    depth=2,
    ipc=2,
    classes=2,
    channels=1,
    size=8,
    batch_real=4,
    num_eval=2,
    epoch_eval_train=3,
)


@pytest.fixture
def tiny():
    return build(Network(width=4, depth=2), (1, 8, 8), 2, generator(0))


def test_operations_by_hand(tiny):
    (first, image), (second, half) = roofline.convolutions(tiny, (1, 8, 8))
    assert (image, half) == ((1, 8, 8), (4, 4, 4))
    assert roofline.operations(first, image) == 2 * 9 * 1 * 4 * 64
    assert roofline.operations(second, half) == 2 * 9 * 4 * 4 * 16


def test_roofline_adds_up(tiny, monkeypatch):
    # One second a pass: two layers; the first needs no gradient of its input.
    monkeypatch.setattr(roofline, "_best", lambda *_: 1.0)
    least = roofline.measure(tiny, (1, 8, 8), 4)
    assert (least.forward, least.training) == (2, 2 + 3)
    assert least.matching == 5 + 7
    assert least.flops == 2 * 4608 + 3 * 4608
    assert least.byte > 0


def convolved(function):
    """Operations of all convolutions that `function` runs."""
    with FlopCounterMode(display=False, depth=0) as counter:
        function()
    counts = counter.get_flop_counts()["Global"]
    return sum(count for name, count in counts.items() if "convolution" in str(name))


def test_convolutions_are_those_of_the_roofline(tiny):
    """Counted in what PyTorch runs to train, and to differentiate gradients."""
    first, second = (roofline.operations(*one) for one in roofline.convolutions(tiny, (1, 8, 8)))
    picture, label = torch.rand(1, 1, 8, 8, generator=generator(1)), torch.zeros(1).long()
    weights = [weight for weight in tiny.parameters() if weight.ndim > 1]

    def train():
        F.cross_entropy(tiny(picture), label).backward()

    def match():
        image = picture.clone().requires_grad_()
        loss = F.cross_entropy(tiny(image * 1), label)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        torch.autograd.grad(sum(g.square().sum() for g in gradients), image)

    assert convolved(train) == 2 * first + 3 * second
    # Autograd may differentiate ∇x with respect to w, too, which nobody asks for.
    assert 0 <= convolved(match) - (5 * first + 7 * second) <= second


def test_an_outer_iteration_is_added_up():
    found = {
        "class sweep": speed.Measurement([(3.0, 1.0), (6.0, 2.0)], max_rel_diff=0.5),
        "inner loop": speed.Measurement([(2.0, 1.0), (2.0, 1.0)], max_rel_diff=0.1),
    }
    # T = 2 sweeps and, once, 6 epochs of the inner loop, of which a round measures two.
    assert TINY.matching().loops() == (2, 6)
    whole = speed.added_up(TINY, found)
    assert whole.seconds == [(2 * 3 + 3 * 2, 2 * 1 + 3 * 1), (2 * 6 + 3 * 2, 2 * 2 + 3 * 1)]
    assert whole.ratios == [12 / 5, 18 / 7]
    assert whole.max_rel_diff == 0.5
    assert speed.added_up(TINY, {"inner loop": whole}) is None


def test_both_backends_compute_the_same():
    plain, ours = backends.Reference(TINY), backends.Engine(TINY)
    for part in get_args(problem.PartName):
        expected = [x.detach() for x in plain.run(part, 1)]
        found = [x.detach() for x in ours.run(part, 1)]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3, msg=part)


def test_a_comparison_is_printed_and_kept(tmp_path, monkeypatch, capsys):
    settings = replace(TINY, parts=("class sweep", "inner loop"), results=tmp_path)
    found = speed.alternate(settings)
    monkeypatch.setattr(speed, "alternate", lambda _: found)
    for _ in range(2):
        speed.compare(settings)
    kept = pd.read_csv(tmp_path / "speed.csv")
    assert list(kept["what"]) == ["class sweep", "inner loop", "outer iteration, added up"] * 2
    assert (kept["max_rel_diff"] < 1e-3).all()
    assert (kept["ratio_min"] <= kept["ratio"]).all()
    assert (kept["ratio"] <= kept["ratio_max"]).all()
    assert "GFLOP/s" in capsys.readouterr().out


def test_growth_is_measured_while_there_is_time_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(speed, "step", lambda backend, case: (case.ipc * case.width / 100, 1e6))
    speed.scale(replace(TINY, minutes=1, results=tmp_path))
    table = pd.read_csv(tmp_path / "scaling-cpu.csv")
    assert len(table) == 2 * sum(len(values) for _, values in scaling.AXES.values())
    assert (tmp_path / "scaling-cpu.png").stat().st_size > 10_000
    assert len(scaling.grow(TINY, speed.step, ("engine",), minutes=-1)) == 0
    assert "time is up" in capsys.readouterr().out


def test_a_step_has_a_time_and_a_peak():
    seconds, memory = speed.step("engine", TINY)
    assert seconds > 0
    assert 0 <= memory < 2**30


def test_results_in_another_order_or_with_other_signs_are_different():
    vector = torch.arange(1.0, 7.0).view(2, 3)
    plain = workers.projections([vector, vector[:1]])
    assert workers.relative_difference(plain, workers.projections([vector, vector[:1]])) == 0
    for other in (vector.flip(0), -vector):
        assert workers.relative_difference(plain, workers.projections([other, vector[:1]])) > 0.1
    near = workers.projections([vector * 1.001, vector[:1]])
    assert 1e-4 < workers.relative_difference(plain, near) < 1e-2
    assert workers.relative_difference([0.0], [0.0]) == 0
