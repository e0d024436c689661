"""Generative teaching networks: gradients by autograd written out, resume, and that it helps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.config.unrolled import DatasetDistillation, GenerativeTeaching
from condense.data.loading import load
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.methods.generative_teaching import StepwiseDistiller, Teacher, learning_rate
from condense.models.build import build
from condense.seeds import generator
from tests.helpers.methods import assert_resumes, same_sets

SMOOTH = Network(width=4, depth=1, activation="sigmoid")
TINY = GenerativeTeaching(
    ipc=2, network=SMOOTH, iterations=3, batch_real=16, distill_lr=0.5, generator_width=2
)


def test_a_step_is_that_of_autograd_through_a_written_out_training(data) -> None:
    """The loss after each of two steps, and its gradients with respect to all that is learnt."""
    settings = replace(TINY, networks=1)
    distiller, teacher = StepwiseDistiller(data, settings, 0), Teacher(data, settings, 0)
    raw = distiller.initial_raw().requires_grad_()
    images = teacher.images()
    of_images, of_raw, loss = distiller.gradients(images.detach().requires_grad_(), raw, k=4)
    images.backward(of_images)
    ours = [tensor.grad for tensor in teacher.learnt().values()]

    draws = generator(0, "iteration", 4)
    real = torch.randperm(len(data.x_train), generator=draws)[:16]
    network = build(SMOOTH, data.shape, 3, draws)
    names, weights = zip(*network.named_parameters(), strict=True)
    made, losses, labels = teacher.images(), [], torch.arange(3)
    inputs = data.normalise(data.x_train[real])
    for step in range(2):
        call = torch.func.functional_call
        logits = call(network, dict(zip(names, weights, strict=True)), (made[:, step],))
        gradients = torch.autograd.grad(F.cross_entropy(logits, labels), weights, create_graph=True)
        lr = F.softplus(raw[0, step])
        weights = [w - lr * g for w, g in zip(weights, gradients, strict=True)]
        logits = call(network, dict(zip(names, weights, strict=True)), (inputs,))
        losses.append(F.cross_entropy(logits, data.y_train[real]))
    mean = (losses[0] + losses[1]) / 2
    theirs = torch.autograd.grad(mean, [*teacher.learnt().values(), raw])
    torch.testing.assert_close(loss, mean.detach())
    torch.testing.assert_close([*ours, of_raw], [*theirs])


@pytest.mark.parametrize("stop_at", [1, 2])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data, stop_at: int) -> None:
    assert_resumes(data, "gtn", TINY, stop_at)


def test_seeds_and_the_learning_rates_of_the_set(data) -> None:
    first, again, other = (condense(data, "gtn", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)
    assert first.distill_lrs is not None
    assert first.distill_lrs.shape == (1, 2)
    assert first.images.shape == (6, *data.shape)


def test_the_learning_rate_falls_to_a_tenth() -> None:
    settings = replace(TINY, iterations=1000, lr_img=2.0)
    found = [learning_rate(settings, k) for k in (0, 500, 1000)]
    assert found == pytest.approx([2.0, 1.1, 0.2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "real"}, "unknown init 'real'; known: noise"),
        ({"storage": "dct"}, "gtn learns learning rates with its images"),
        ({"latent_size": 0}, "latent-size must be at least 1"),
        ({"distill_steps": 3}, "distill-steps must divide the images per class: 10 / 3"),
    ],
)
def test_settings_that_make_no_sense(data, changes, message: str) -> None:
    with pytest.raises(UserError, match=message):
        condense(data, "gtn", **changes)


def test_settings_of_dd_are_not_those_of_gtn(data) -> None:
    with pytest.raises(UserError, match="settings must be a GenerativeTeaching"):
        condense(data, "gtn", DatasetDistillation(ipc=2))


def test_the_generator_learns_to_teach() -> None:
    data, network = load("digits"), Network(width=8, depth=2)
    settings = GenerativeTeaching(
        ipc=2, network=network, iterations=120, lr_img=0.005, distill_lr=1.0, generator_width=8
    )
    learnt, start = (condense(data, "gtn", replace(settings, iterations=n)) for n in (120, 1))
    test = Evaluation(num_eval=5, network=network)
    assert evaluate(learnt, data, test).mean > evaluate(start, data, test).mean + 0.15
