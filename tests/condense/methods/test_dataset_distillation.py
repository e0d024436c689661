"""Algorithm 1 of Wang et al. 2018: gradients by finite differences, resume, and that it helps."""

import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.config.unrolled import DatasetDistillation
from condense.data.loading import load
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.evaluation import test_accuracy as accuracy_of
from condense.methods.dataset_distillation import Distiller, learning_rate, trained
from condense.methods.initialisation import initial_images
from condense.methods.unrolled import logits_at
from condense.models.build import build
from condense.seeds import generator
from condense.training.loop import train_with_lrs
from tests.helpers.methods import assert_resumes, same_sets

SMOOTH = Network(width=4, depth=1, activation="sigmoid")
TINY = DatasetDistillation(
    ipc=2, network=SMOOTH, iterations=3, distill_epochs=2, networks=2, batch_real=16, distill_lr=0.5
)


def train_plainly(network, images, lrs):
    """Gradient descent on `network` itself, step by step."""
    classes, ipc = images.shape[:2]
    steps = len(lrs[0])
    for rate_of_step in lrs:
        for step in range(steps):
            mine = range(step * ipc // steps, (step + 1) * ipc // steps)
            batch = torch.stack([images[c, i] for c in range(classes) for i in mine])
            labels = torch.tensor([c for c in range(classes) for i in mine])
            loss = F.cross_entropy(network(batch), labels)
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for weight, gradient in zip(network.parameters(), gradients, strict=True):
                    weight.sub_(rate_of_step[step] * gradient)
    return network


def plain_loss(data, settings, images, raw, real, *names):
    draws = generator(0, *names)
    if names[0] == "iteration":  # the real batch is drawn before the weights
        torch.randperm(len(data.x_train), generator=draws)
    total = 0.0
    networks = settings.networks if settings.init_weights == "random" else 1
    for _ in range(networks):
        network = build(settings.network, data.shape, data.classes, draws).double()
        train_plainly(network, images, [[F.softplus(r) for r in row] for row in raw])
        inputs = data.normalise(data.x_train[real]).double()
        total += F.cross_entropy(network(inputs), data.y_train[real]).item() / networks
    return total


@pytest.mark.parametrize(
    ("weights", "steps"), [("random", None), ("fixed", None), ("random", 1), ("fixed", 4)]
)
def test_gradients_are_the_finite_differences_of_plain_training(data, weights, steps):
    settings = replace(TINY, init_weights=weights, distill_steps=steps, ipc=4 if steps == 4 else 2)
    distiller = Distiller(data, settings, seed=0)
    images, raw = initial_images(data, settings, 0), distiller.initial_raw()
    raw += torch.rand(raw.shape, generator=generator(3))
    images.requires_grad_()
    raw.requires_grad_()
    to_images, to_raw, loss = distiller.gradients(images, raw, k=5)

    real = torch.randperm(len(data.x_train), generator=generator(0, "iteration", 5))[:16]
    names = ("iteration", 5) if weights == "random" else ("fixed weights",)
    of = lambda images, raw: plain_loss(data, settings, images, raw, real, *names)  # noqa: E731
    images, raw = images.detach().double(), raw.detach().double()
    assert loss.item() == pytest.approx(of(images, raw), rel=1e-5)

    def difference(tensor, place):
        low, high = tensor.clone(), tensor.clone()
        low[place] -= 1e-4
        high[place] += 1e-4
        pairs = [(t, raw) if tensor is images else (images, t) for t in (low, high)]
        return (of(*pairs[1]) - of(*pairs[0])) / 2e-4

    for place in itertools.product(*map(range, raw.shape)):
        assert to_raw[place].item() == pytest.approx(difference(raw, place), rel=1e-2, abs=1e-6)
    for place in [(0, 0, 0, 3, 4), (1, 1, 0, 0, 7), (2, 1, 0, 5, 5)]:
        expected = difference(images, place)
        assert abs(expected) > 1e-7
        assert to_images[place].item() == pytest.approx(expected, rel=2e-2, abs=1e-7)


def test_distill_lrs_start_where_asked_and_stay_above_zero(data):
    raw = Distiller(data, TINY, seed=0).initial_raw()
    assert raw.shape == (2, 2)
    torch.testing.assert_close(F.softplus(raw), torch.full((2, 2), 0.5))
    small = condense(data, "dd", replace(TINY, lr_img=3.0, iterations=10))
    assert small.distill_lrs.shape == (2, 2)
    assert (small.distill_lrs > 0).all()
    assert (small.distill_lrs - 0.5).abs().min() > 0.01


@pytest.mark.parametrize("lr", [1e-30, 0.02, 50.0, 1e30])
def test_any_distill_lr_is_the_softplus_of_its_raw_value(data, lr):
    raw = Distiller(data, replace(TINY, distill_lr=lr), seed=0).initial_raw()
    torch.testing.assert_close(F.softplus(raw), torch.full_like(raw, lr))


def test_the_set_says_what_it_is_to_be_trained_with(data, tmp_path):
    small = condense(data, "dd", TINY)
    small.save(tmp_path / "set.safetensors")
    after = type(small).load(tmp_path / "set.safetensors")
    assert same_sets(after, small)
    assert after.provenance == small.provenance
    assert after.provenance["settings"]["init_weights"] == "random"


@pytest.mark.parametrize("stop_at", [1, 2])
@pytest.mark.parametrize("weights", ["random", "fixed"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data, weights, stop_at):
    assert_resumes(data, "dd", replace(TINY, init_weights=weights), stop_at)


def test_seeds(data):
    first, again, other = (condense(data, "dd", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_images_and_learning_rates_are_moved_by_adam(data):
    settings = replace(TINY, iterations=3, lr_img=0.1)
    distiller = Distiller(data, settings, seed=0)
    images, raw = initial_images(data, settings, 0).requires_grad_(), distiller.initial_raw()
    adam = torch.optim.Adam([images, raw.requires_grad_()], betas=(0.5, 0.999))
    for k in range(3):
        adam.param_groups[0]["lr"] = learning_rate(settings, k)
        images.grad, raw.grad, _ = distiller.gradients(images, raw, k)
        adam.step()
    small = condense(data, "dd", settings)
    torch.testing.assert_close(small.normalised(data), images.detach().flatten(0, 1))
    torch.testing.assert_close(small.distill_lrs, F.softplus(raw.detach()))


def test_fixed_weights_are_one_network_in_all_iterations(data):
    settings = replace(TINY, init_weights="fixed", batch_real=len(data.x_train))
    distiller = Distiller(data, settings, seed=0)
    learnt = [initial_images(data, settings, 0), distiller.initial_raw()]
    images, raw = (tensor.requires_grad_() for tensor in learnt)
    losses = [distiller.gradients(images, raw, k)[2].item() for k in (0, 1)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_the_learning_rate_of_the_images_is_halved_after_each_tenth(data):
    settings = replace(TINY, iterations=20, lr_img=1.0)
    lrs = [learning_rate(settings, k) for k in range(20)]
    assert lrs == [2.0**-tenth for tenth in range(10) for _ in range(2)]
    one, two = (condense(data, "dd", replace(TINY, iterations=n), seed=1) for n in (1, 2))
    start = initial_images(data, TINY, 1).flatten(0, 1)
    first, both = ((small.normalised(data) - start).abs().max() for small in (one, two))
    assert first.item() == pytest.approx(0.01, rel=0.01)  # Adam's first step
    assert both.item() < 0.01 * (1 + 1 / 32) * 1.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill_steps": 3}, "distill-steps must divide the images per class: 10 / 3"),
        ({"distill_lr": 0.0}, "distill-lr must be above 0"),
        ({"distill_epochs": 0}, "distill-epochs must be at least 1"),
        ({"networks": 0}, "networks must be at least 1"),
        ({"ipc": 99}, "fewer than 99"),
        ({"network": Network(width=4, norm="batch")}, "too few for the running statistics of a"),
    ],
)
def test_settings_that_make_no_sense(data, changes, message):
    with pytest.raises(UserError, match=message):
        condense(data, "dd", **changes)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_training_with_lrs_is_gradient_descent_share_by_share(data, steps):
    images = initial_images(data, replace(TINY, ipc=4), 0)
    lrs = torch.rand(3, steps, generator=generator(1))
    one, two = (build(SMOOTH, data.shape, 3, generator(4)) for _ in range(2))
    labels = torch.arange(3).repeat_interleave(4)
    train_with_lrs(one, images.flatten(0, 1), labels, 3, lrs)
    train_plainly(two, images, lrs.tolist())
    for ours, plain in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_networks_are_tested_as_they_were_trained_for_the_set(data, steps):
    settings = replace(TINY, ipc=4, distill_steps=steps)
    small = condense(data, "dd", settings)
    images = small.normalised(data).view(3, 4, *data.shape)
    expected = []
    for number in range(2):
        network = build(SMOOTH, data.shape, 3, generator(5, "evaluation", number))
        train_plainly(network, images, small.distill_lrs.tolist())
        expected.append(accuracy_of(network, data))
    test = Evaluation(num_eval=2, network=SMOOTH)
    for changes in ({}, {"epoch_eval_train": 7, "augment": "none"}):
        found = evaluate(small, data, replace(test, **changes), seed=5)
        assert found.values == tuple(expected)


def test_the_images_teach_better_than_real_ones_in_as_many_steps():
    data, network = load("digits"), Network(width=8, depth=2)
    settings = DatasetDistillation(
        ipc=2, network=network, iterations=150, distill_epochs=2, networks=1, batch_real=128,
        lr_img=0.05, distill_lr=0.3, init="real",
    )  # fmt: skip
    learnt, real = condense(data, "dd", settings), condense(data, "random", ipc=2)
    test = Evaluation(num_eval=5, network=network)
    steady = [replace(real, distill_lrs=torch.full((2, 2), rate)) for rate in (0.03, 0.1, 0.3, 1.0)]
    best = max(evaluate(small, data, test).mean for small in steady)
    assert evaluate(learnt, data, test).mean > best + 0.1


def test_an_unrolled_network_is_the_trained_one(data):
    images = initial_images(data, TINY, 0)
    network = build(SMOOTH, data.shape, 3, generator(4))
    lrs = torch.tensor([[0.3, 0.2], [0.1, 0.4]])
    weights = trained(network, images, lrs)
    real = data.normalise(data.x_train[:5])
    unrolled = logits_at(network, weights, real)
    plain = train_plainly(network, images, lrs.tolist())(real)
    torch.testing.assert_close(unrolled, plain, atol=1e-5, rtol=1e-4)
