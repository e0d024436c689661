from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from avalanche.training.plugins import SupervisedPlugin
from torch import nn

from condense import generator
from continual import RandomBuffer, make_benchmark
from continual.losses import (
    add_gradient_noise,
    cross_distilled,
    cross_entropy_of_known,
    der_loss,
    distillation,
    er_ace_logits,
    learning_rate,
    noise_scale,
)
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil


def softmax(values: list[float]) -> list[float]:
    weights = [math.exp(value) for value in values]
    return [weight / sum(weights) for weight in weights]


def test_distillation_by_hand_at_temperature_two() -> None:
    targets, outputs = softmax([1.0, 0.0]), softmax([0.5, 2.0])
    expected = -sum(t * math.log(o) for t, o in zip(targets, outputs, strict=True))
    found = distillation(torch.tensor([[1.0, 4.0]]), torch.tensor([[2.0, 0.0]]))
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_distillation_is_the_mean_over_the_images() -> None:
    logits, teacher = torch.randn(2, 5, 3, generator=generator(1))
    alone = [distillation(logits[[row]], teacher[[row]]) for row in range(5)]
    torch.testing.assert_close(distillation(logits, teacher), torch.stack(alone).mean())


def test_the_whole_loss_by_hand_with_two_old_heads() -> None:
    student = [[1.0, 3.0], [0.0, 2.0], [4.0, -2.0]]
    teacher = [[0.0, 2.0], [6.0, 0.0]]
    expected = -math.log(softmax([value for head in student for value in head])[3])
    for mine, its in zip(student, teacher, strict=False):
        targets, outputs = softmax([v / 2 for v in its]), softmax([v / 2 for v in mine])
        expected -= sum(t * math.log(o) for t, o in zip(targets, outputs, strict=True))
    heads = [torch.tensor([head]) for head in student]
    taught = zip(heads, [torch.tensor([head]) for head in teacher], strict=False)
    found = cross_distilled(torch.cat(heads, 1), torch.tensor([3]), taught)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_the_softmax_of_distillation_is_within_the_head() -> None:
    """A constant added to one head's logits changes nothing for it."""
    logits, teacher = torch.randn(2, 5, 3, generator=generator(0))
    torch.testing.assert_close(distillation(logits + 7, teacher - 3), distillation(logits, teacher))


def test_der_loss_by_hand() -> None:
    """Two samples: one new, one that was remembered when there were two of the three classes."""
    nan = math.nan
    stored = torch.tensor([[nan, nan], [6.0, 2.0]], dtype=torch.float16)
    output = torch.tensor([[1.0, 2.0, 3.0], [0.0, 3.0, 9.0]])
    targets, outputs = softmax([3.0, 1.0]), softmax([0.0, 1.5])
    entropy = -sum(t * math.log(o) for t, o in zip(targets, outputs, strict=True))
    assert der_loss(output, stored).item() == pytest.approx(4 * entropy / 2, rel=1e-5)


def test_missing_logits_have_no_effect() -> None:
    stored = torch.tensor([[math.nan] * 3, [1.0, -math.inf, 2.0]])
    output = torch.randn(2, 4, generator=generator(0)).requires_grad_()
    der_loss(output, stored).backward()
    assert output.grad is not None
    assert output.grad[0].tolist() == [0] * 4
    assert (output.grad[1] != 0).tolist() == [True, False, True, False]


def test_new_samples_do_not_push_old_classes_down() -> None:
    output = torch.tensor([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]], requires_grad=True)
    labels = torch.tensor([0, 1])
    loss = nn.functional.cross_entropy(er_ace_logits(output, labels, torch.tensor([0, 2])), labels)
    new, old = softmax([1.0, 3.0])[0], softmax([1.0, 2.0, 3.0])[1]
    assert loss.item() == pytest.approx(-(math.log(new) + math.log(old)) / 2, rel=1e-6)
    loss.backward()
    assert output.grad is not None
    assert (output.grad != 0).tolist() == [[True, False, True], [True, True, True]]


def test_noise_is_that_of_the_summed_gradient() -> None:
    layer = nn.Linear(300, 300)
    layer(torch.ones(1, 300)).sum().backward()
    before = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    add_gradient_noise(list(layer.parameters()), 0.25, 128, generator(0, "noise"))
    after = [p.grad for p in layer.parameters() if p.grad is not None]
    noise = torch.cat([(b - a).flatten() for a, b in zip(before, after, strict=True)]) * 128
    assert noise.std().item() == pytest.approx(0.25, rel=0.02)
    assert abs(noise.mean().item()) < 0.25 * 4 / math.sqrt(len(noise))


def test_noise_falls_with_the_epochs() -> None:
    assert noise_scale(1) == pytest.approx(0.3 / 2**0.55)
    assert noise_scale(40) < noise_scale(39)
    assert noise_scale(40, gamma=1e30) == 0


def test_learning_rates_of_the_paper() -> None:
    main = [learning_rate(0.1, epoch, 40, 4) for epoch in range(40)]
    assert main == [0.1] * 10 + [0.01] * 10 + [0.001] * 10 + [0.0001] * 10
    tuned = [learning_rate(0.01, epoch, 30, 3) for epoch in range(30)]
    assert tuned == [0.01] * 10 + [0.001] * 10 + [0.0001] * 10
    assert learning_rate(0.1, 1, 2, 4) == 0.001


def test_cross_entropy_skips_classes_still_to_come() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, 0.0]])
    assert cross_entropy_of_known(logits, torch.tensor([1, 5])).item() == pytest.approx(math.log(2))
    logits[0, 1] = -torch.inf  # the classes do not come in the order of their labels
    assert cross_entropy_of_known(logits, torch.tensor([1, 0])).item() == pytest.approx(math.log(2))


@pytest.mark.filterwarnings("ignore:No loggers specified")
def test_the_temperature_is_that_of_teachers_and_of_stored_logits() -> None:
    class Recompute(SupervisedPlugin):  # type: ignore[misc]
        checked: tuple[str, ...] = ()

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            with torch.no_grad():
                heads = strategy.model.logits(strategy.mb_x)
                output = torch.cat(heads, 1)
                taught = [
                    (heads[head], teacher.model.logits(strategy.mb_x)[head])
                    for teacher in strategy.teachers
                    for head in teacher.heads
                ]
                expected = cross_distilled(output, strategy.mb_y, taught, 3.0)
                if strategy.stage.name != "first":
                    expected = expected + der_loss(output, strategy.mbatch[2], 3.0)
            torch.testing.assert_close(strategy.loss[0], expected)
            self.checked += (strategy.stage.name,)

    recompute = Recompute()
    config = replace(TINY_EEIL, temperature=3.0)
    memory = RandomBuffer(images_per_class=2, store_logits=True)
    strategy = tiny_eeil("class", memory=memory, config=config, plugins=[recompute])
    strategy.train(make_benchmark(tasks()[:2], "class").train_stream, eval_streams=[])
    assert {*recompute.checked} == {"first", "main", "finetune"}
