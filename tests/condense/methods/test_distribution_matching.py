"""Algorithm 1 of Zhao & Bilen 2023: one step by hand, resume, seeds, and that it helps."""

from dataclasses import replace

import pytest
import torch

from condense.api import condense
from condense.augment.operations import OPERATIONS
from condense.augment.params import default_strategy
from condense.config.methods import Coreset, DistributionMatching
from condense.config.network import Network
from condense.errors import UserError
from condense.methods.distribution_matching import (
    DistributionMatcher,
    embedding_distance,
    mean_embeddings,
)
from condense.methods.initialisation import initial_images
from condense.models.build import build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.methods import assert_resumes, same_sets, score

TINY = DistributionMatching(ipc=2, network=Network(width=4), iterations=3, batch_real=8)


def reference_step(data, settings, images, k):
    """The gradient and the distance of iteration k, class by class and image by image."""
    draws = generator(0, "iteration", k)
    network = build(settings.network, data.shape, data.classes, draws)
    members = [torch.where(data.y_train == c)[0] for c in range(data.classes)]
    rows = [row[torch.randperm(len(row), generator=draws)] for row in members]
    strategy = default_strategy(data.hflip)
    if settings.augment == "siamese":
        chosen = torch.randint(len(strategy), (data.classes,), generator=draws).tolist()
        numbers = torch.rand(data.classes, 1, 3, generator=draws)
    leaf = images.clone().requires_grad_()
    sides = []
    for batches in (
        [data.normalise(data.x_train[row[: settings.batch_real]]) for row in rows],
        list(leaf),
    ):
        if settings.augment == "siamese":
            batches = [
                OPERATIONS[strategy[chosen[c]]](batch, numbers[c])
                for c, batch in enumerate(batches)
            ]
        if settings.network.norm == "batch":  # all classes of a side have their own statistics
            embeddings = network.features(torch.cat(batches))
        else:
            embeddings = torch.cat([network.features(x[None]) for x in torch.cat(batches)])
        sides.append([part.mean(0) for part in embeddings.split([len(x) for x in batches])])
    distance = sum(((a.detach() - b) ** 2).sum() for a, b in zip(*sides, strict=True))
    return torch.autograd.grad(distance, leaf)[0], distance.item()


class Told(Checkpointer):
    """A checkpointer that keeps the figures."""

    def __init__(self):
        self.distances = []

    def report(self, done, total, distance):
        self.distances.append(distance)


@pytest.mark.parametrize("augment", ["siamese", "none"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_steps_are_the_algorithm_written_out(data, augment, norm):
    network = Network(width=4, norm=norm)
    settings = replace(TINY, network=network, augment=augment, iterations=2, lr_img=50.0)
    told = Told()
    made = condense(data, "dm", settings, checkpointer=told).normalised(data)
    start = initial_images(data, settings, 0)
    images, velocity, distances = start.clone(), torch.zeros_like(start), []
    for k in range(2):
        gradient, distance = reference_step(data, settings, images, k)
        velocity = 0.5 * velocity + gradient
        images = images - 50 * velocity
        distances.append(distance)
    assert told.distances == pytest.approx(distances, rel=1e-4)
    assert (images - start).abs().max() > 0.01
    torch.testing.assert_close(made, images.flatten(0, 1), atol=1e-4, rtol=1e-3)


def test_batch_norm_has_the_statistics_of_all_classes_and_all_threads(data, monkeypatch):
    seen = []
    loss = DistributionMatcher.loss

    def noted(self, target, embedded, classes):
        seen.append((len(embedded), torch.get_num_threads()))
        return loss(self, target, embedded, classes)

    monkeypatch.setattr(DistributionMatcher, "loss", noted)
    # As on several GPUs, where chunks of classes are divided among the processes.
    monkeypatch.setattr("condense.methods.distribution_matching.class_chunks", None)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        condense(data, "dm", replace(TINY, network=Network(width=4, norm="batch"), iterations=1))
    finally:
        torch.set_num_threads(before)
    assert seen == [(data.classes, 2)]


def test_equal_means_are_no_distance_and_no_gradient_reaches_real_images():
    real = [torch.randn(5, 1, 4, 4, generator=generator(0, c)) for c in range(2)]
    target = mean_embeddings(lambda images: images.flatten(1), real)
    synthetic = torch.stack([images.mean(0, keepdim=True).flatten(1) for images in real])
    assert embedding_distance(target, synthetic) < 1e-9
    assert embedding_distance(target, synthetic + 1).item() == pytest.approx(2 * 16)
    real[0].requires_grad_()
    assert not mean_embeddings(lambda images: images.flatten(1), real).requires_grad


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data, norm):
    assert_resumes(data, "dm", replace(TINY, network=Network(width=4, norm=norm)), stop_at=1)


def test_seeds(data):
    first, again, other = (condense(data, "dm", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_the_set_teaches_better_than_random_images():
    network = Network(width=8, depth=2)
    settings = DistributionMatching(ipc=1, network=network, iterations=100, batch_real=64)
    assert score("dm", settings) > score("random", Coreset(ipc=1)) + 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be at least 1"),
        ({"batch_real": 0}, "batch-real must be at least 1"),
        ({"dsa_strategy": ("zoom",)}, "unknown augmentation 'zoom'"),
        ({"ipc": 99}, "fewer than 99"),
    ],
)
def test_settings_that_make_no_sense(data, changes, message):
    with pytest.raises(UserError, match=message):
        condense(data, "dm", **changes)


def test_a_step_changes_the_sampled_images_alone(data) -> None:
    settings = replace(TINY, iterations=1, batch_syn=1)
    start = initial_images(data, settings, 0)
    images = condense(data, "dm", settings).normalised().view_as(start)
    changed = (images - start).abs().amax((2, 3, 4)) > 1e-4
    assert changed.sum(1).tolist() == [1] * data.classes
