"""Algorithm 1 of Bohdal et al. 2020: a step by first derivatives, resume, and that it helps."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.config.evaluation import Evaluation
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.config.unrolled import LabelDistillation
from condense.errors import UserError
from condense.methods.label_distillation import LabelDistiller, Patience
from condense.models.build import build
from condense.seeds import generator
from tests.helpers.methods import assert_resumes, same_sets, score

TINY = LabelDistillation(
    ipc=2, network=Network(width=4), iterations=3, batch_size=4, batch_real=16, inner_lr=0.5
)


def reference_gradient(network, images, labels, real, real_labels, lr):
    """∇_ỹ of the loss after a step, label by label, from first derivatives alone.

    Cross-entropy is linear in the label: the step moves θ by lr/n · ∇_θ log p_ij for each unit of
    ỹ_ij, so the loss changes by the product of that and its own gradient where the step ends.
    """
    parameters = list(network.parameters())
    of_labels = torch.autograd.grad(F.cross_entropy(network(images), labels), parameters)
    log_p = network(images).log_softmax(1)
    moves = [
        [torch.autograd.grad(entry, parameters, retain_graph=True) for entry in row]
        for row in log_p
    ]
    with torch.no_grad():
        for parameter, gradient in zip(parameters, of_labels, strict=True):
            parameter.sub_(lr * gradient)
    ahead = torch.autograd.grad(F.cross_entropy(network(real), real_labels), parameters)
    return torch.tensor(
        [
            [
                lr / len(images) * sum(float((a * b).sum()) for a, b in zip(ahead, m, strict=True))
                for m in row
            ]
            for row in moves
        ]
    )


@pytest.mark.parametrize("label_init", ["uniform", "class"])
def test_a_step_of_the_labels_is_the_equation_written_out(data, label_init):
    settings = replace(TINY, label_init=label_init)
    distiller = LabelDistiller(data, settings, seed=0)
    before = distiller.labels.detach().clone()
    chosen, real = torch.tensor([4, 0, 3]), torch.arange(10, 30)
    loss, error = distiller.update_labels(chosen, real)

    network = build(settings.network, data.shape, data.classes, generator(0, "network", 0))
    images = distiller.set.normalised()[chosen]
    real, real_labels = data.normalise(data.x_train[real]), data.y_train[real]
    expected = torch.zeros_like(before)
    expected[chosen] = reference_gradient(network, images, before[chosen], real, real_labels, 0.5)
    torch.testing.assert_close(distiller.labels.grad, expected, atol=1e-6, rtol=1e-3)
    assert expected.abs().max() > 1e-4

    logits = network(real)  # which the reference gradient has moved
    assert loss == pytest.approx(F.cross_entropy(logits, real_labels).item(), rel=1e-4)
    assert error == pytest.approx((logits.argmax(1) != real_labels).float().mean().item())
    moved = before - 0.001 * distiller.labels.grad.sign()  # the first step of Adam
    moved = moved.clamp(min=1e-6)
    moved[chosen] = moved[chosen] / moved[chosen].sum(1, keepdim=True)
    torch.testing.assert_close(
        distiller.labels[chosen].detach(), moved[chosen], atol=2e-5, rtol=1e-3
    )
    still = [row for row in range(6) if row not in chosen]
    torch.testing.assert_close(distiller.labels[still].detach(), before[still], atol=1e-5, rtol=0)


def test_the_network_learns_the_new_labels(data):
    distiller = LabelDistiller(data, replace(TINY, lr_net=0.01), seed=0)
    for k in range(3):
        distiller.step(k)
    weights = [weight.detach().clone() for weight in distiller.network.parameters()]
    chosen = torch.tensor([1, 2, 5])
    images = distiller.images[chosen]
    loss = lambda: F.cross_entropy(distiller.network(images), distiller.labels[chosen]).item()  # noqa: E731
    before, labels = loss(), distiller.labels.detach().clone()
    distiller.update_network(chosen)
    assert loss() < before
    assert torch.equal(labels, distiller.labels)
    assert any(
        not torch.equal(a, b) for a, b in zip(weights, distiller.network.parameters(), strict=True)
    )


def test_a_step_is_of_the_labels_first_and_then_of_the_network_on_the_same_images(
    data, monkeypatch
):
    distiller, steps = LabelDistiller(data, TINY, seed=0), []
    update_labels, update_network = distiller.update_labels, distiller.update_network

    def labels(chosen, real):
        steps.append(("labels", chosen.tolist(), len(real)))
        return update_labels(chosen, real)

    def network(chosen):
        steps.append(("network", chosen.tolist()))
        update_network(chosen)

    monkeypatch.setattr(distiller, "update_labels", labels)
    monkeypatch.setattr(distiller, "update_network", network)
    distiller.step(0)
    chosen = steps[0][1]
    assert len(set(chosen)) == TINY.batch_size
    assert steps == [("labels", chosen, TINY.batch_real), ("network", chosen)]


def test_a_network_that_has_stopped_getting_better_is_replaced():
    patience = Patience(2)
    said = [patience.exhausted(error) for error in (0.5, 0.5, 0.3, 0.3, 0.3, 0.2, 0.3, 0.3)]
    # means of two:             none  0.5  0.4  0.3  0.3  0.25 0.25 0.3
    assert said == [False, False, False, False, False, False, False, True]


def test_networks_are_restarted_along_the_way(data):
    distiller = LabelDistiller(data, replace(TINY, patience=2, lr_net=0.0), seed=0)
    for k in range(30):
        distiller.step(k)
    assert 2 <= distiller.number <= 10
    fresh = build(TINY.network, data.shape, 3, generator(0, "network", distiller.number))
    for ours, theirs in zip(distiller.network.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(ours, theirs)  # since a rate of 0 leaves them


def test_images_are_real_and_labels_are_probabilities(data):
    settings = replace(TINY, iterations=20, label_lr=0.5)
    small, chosen = condense(data, "ld", settings), condense(data, "random", Coreset(ipc=2))
    assert torch.equal(small.images, chosen.images)
    assert torch.equal(small.hard_labels, chosen.labels)
    assert small.labels.shape == (6, 3)
    assert (small.labels >= 0).all()
    torch.testing.assert_close(small.labels.sum(1), torch.ones(6))
    assert (small.labels.amax(1) > 0.5).any()


def test_a_set_survives_its_file(data, tmp_path):
    small = condense(data, "ld", TINY)
    small.save(tmp_path / "set.safetensors")
    assert same_sets(type(small).load(tmp_path / "set.safetensors"), small)


@pytest.mark.parametrize("stop_at", [1, 7])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data, stop_at, norm):
    network = Network(width=4, norm=norm)
    settings = replace(TINY, iterations=12, patience=2, label_lr=0.05, network=network)
    assert_resumes(data, "ld", settings, stop_at)


def test_seeds(data):
    first, again, other = (condense(data, "ld", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_settings_that_make_no_sense(data):
    with pytest.raises(UserError, match="patience must be at least 1"):
        condense(data, "ld", patience=0)
    with pytest.raises(UserError, match="fewer than 99"):
        condense(data, "ld", ipc=99)


def test_the_labels_teach_better_than_the_images_own_classes():
    network = Network("mlp")
    settings = LabelDistillation(
        ipc=1, network=network, iterations=600, label_init="class", label_lr=0.003,
        batch_size=10, batch_real=256, lr_net=0.003,
    )  # fmt: skip
    test = Evaluation(
        num_eval=3, epoch_eval_train=100, batch_size=10, lr=0.02, network=network, augment="none"
    )
    # One seed gains 1 to 9 points, so that rounding could decide with fewer.
    assert score("ld", settings, test, 4) > score("random", Coreset(ipc=1), test, 4) + 0.02


def test_one_class_has_nothing_to_learn(data):
    with pytest.raises(UserError, match=r"has one class: .* nothing to learn; choose --method dm"):
        condense(data.with_classes([1]), "ld", TINY)
