"""The engine against Algorithm 1 written down plainly, on the same draws."""

from dataclasses import replace

import pytest
import torch
from torch.utils.data import TensorDataset

from benchmarks.speed import reference
from condense.api import condense
from condense.augment.operations import OPERATIONS
from condense.augment.params import augment_batch, sample_params
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.evaluation import evaluate
from condense.methods.gradient_matching import Matcher
from condense.methods.registry import method_named
from condense.models.build import ARCHITECTURES, build, initialise
from condense.seeds import generator
from tests.helpers.images import blobs

CLOSE = {"atol": 2e-4, "rtol": 1e-3}


def settings_of(method: str = "dsa", **changes):
    sizes = {"ipc": 2, "iterations": 2, "outer_loop": 3, "inner_loop": 2, "batch_real": 8}
    return method_named(method).preset("paper", **{**sizes, "network": Network(width=4), **changes})


def both(data, settings, iterations: int = 2):
    """(images, velocity, distances) of the engine and of the reference version."""
    matcher = Matcher(data, settings, seed=0)
    images = matcher.initial_images()
    plain = images.clone().requires_grad_()
    synthetic = matcher.synthetic(images)
    ours = [matcher.outer_iteration(synthetic, k) for k in range(iterations)]
    velocity = synthetic.state()["optimizer.0.momentum_buffer"]
    optimizer = torch.optim.SGD([plain], lr=settings.lr_img, momentum=settings.mom_img)
    theirs = [
        reference.outer_iteration(data, settings, plain, optimizer, 0, k) for k in range(iterations)
    ]
    momentum = optimizer.state[plain]["momentum_buffer"]
    return (synthetic.images(), velocity, ours), (plain.detach(), momentum, theirs)


def assert_same(data, settings):
    start = Matcher(data, settings, seed=0).initial_images()
    (images, velocity, ours), (plain, momentum, theirs) = both(data, settings)
    assert (images - start).abs().max() > 0.01
    torch.testing.assert_close(images, plain, **CLOSE)
    torch.testing.assert_close(velocity, momentum, **CLOSE)
    assert ours == pytest.approx(theirs, rel=1e-4)


NORMS = ["instance", "batch", "layer", "group", "none"]


@pytest.mark.parametrize(
    ("method", "norm"), [*(("dsa", norm) for norm in NORMS), ("dc", "instance"), ("dc", "batch")]
)
def test_outer_iterations_move_the_images_alike(method, norm):
    data = blobs(per_class=20, classes=3, shape=(3, 16, 16))
    assert_same(data, settings_of(method, network=Network(width=4, norm=norm)))


@pytest.mark.parametrize("classes", [2, 5])
def test_whatever_the_number_of_classes(classes):
    data = replace(blobs(classes=classes, shape=(1, 12, 16)), hflip=False)
    assert_same(data, settings_of(ipc=3, network=Network(width=4, depth=2)))


def test_with_batches_smaller_than_the_synthetic_set(data):
    assert_same(data, settings_of(batch_train=4))


def test_with_classes_that_have_fewer_images_than_the_real_batch():
    data = blobs(per_class=20)
    few = data.train_subset(torch.where((data.y_train != 1) | (torch.arange(60) < 15))[0])
    assert_same(few, settings_of(batch_real=16))


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [*((name, "instance") for name in ARCHITECTURES), ("convnet", "layer")],
)
def test_layers_of_the_reference_network_are_those_of_pytorch(architecture, norm):
    drawn = (Network(architecture, norm=norm), (3, 32, 32), 10)
    network = reference.network_of(*drawn, generator(0))
    layers = [module for module in network.modules() if not list(module.children())]
    assert all(type(layer).__module__.startswith("torch.") for layer in layers)
    images = torch.randn(2, 3, 32, 32, generator=generator(1))
    torch.testing.assert_close(network(images), build(*drawn, generator(0))(images))


def test_inner_loop_steps(data):
    settings = settings_of(inner_loop=5, batch_train=4, lr_net=0.1)
    matcher = Matcher(data, settings, seed=0)
    images = matcher.initial_images()
    initialise(matcher.network, generator(0, "network"))
    network = reference.network_of(
        settings.network, data.shape, data.classes, generator(0, "network")
    )
    before = [parameter.detach().clone() for parameter in network.parameters()]
    draws, plain_draws = generator(1), generator(1)
    matcher.train_network(images, draws)
    optimizer = torch.optim.SGD(network.parameters(), settings.lr_net)
    reference.train(
        network,
        TensorDataset(images.flatten(0, 1), matcher.labels),
        optimizer,
        5,
        settings.batch_train,
        plain_draws,
        reference.transform_of(tuple(OPERATIONS), plain_draws),
    )
    trained = list(matcher.network.parameters())
    torch.testing.assert_close(trained, list(network.parameters()), atol=1e-5, rtol=1e-4)
    assert max((a - b).abs().max() for a, b in zip(before, trained, strict=True)) > 1e-3
    assert torch.equal(torch.rand(4, generator=draws), torch.rand(4, generator=plain_draws))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 9, 14)])
def test_augmentation_image_by_image_and_shared(name, shape):
    images = torch.randn(6, *shape, generator=generator(0, name))
    ours = augment_batch(images, (name,), generator(1))
    ((drawn, rows),) = reference.sample_params((name,), generator(1), 1, 6)
    torch.testing.assert_close(ours, reference.augment(images, drawn, rows), atol=2e-4, rtol=0)
    (ours,) = sample_params((name,), generator(2)).apply([images])
    ((drawn, rows),) = reference.sample_params((name,), generator(2), 1, 1)
    torch.testing.assert_close(ours, reference.augment(images, drawn, rows), atol=2e-4, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [{}, {"augment": "none"}, {"augment": "siamese"}, {"batch_size": 4}, {"epoch_eval_train": 7}],
)
def test_evaluation_gives_the_same_accuracies(changes):
    data = blobs(per_class=30, classes=4, shape=(1, 12, 12))
    small = condense(data, "random", ipc=3)
    network = Network(width=8, depth=2)
    settings = Evaluation(
        **{
            "num_eval": 4,
            "epoch_eval_train": 10,
            "lr": 0.05,
            "weight_decay": 0.2,
            "network": network,
            **changes,
        }
    )
    ours = evaluate(small, data, settings, seed=3).values
    theirs = reference.evaluate(small.normalised(data), small.labels, data, settings, seed=3)
    one_image = 1 / len(data.x_test)
    assert ours == pytest.approx(theirs, abs=1.01 * one_image)
    assert len(set(ours)) > 1
