"""IDM (Zhao et al. 2023): one step by hand, the training of its networks, resume, seeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense import ImageData
from condense.api import condense
from condense.augment.params import augment_batch, default_strategy
from condense.config.methods import Coreset, ImprovedDistributionMatching
from condense.config.network import Network
from condense.errors import UserError
from condense.methods.improved_distribution_matching import (
    AGES,
    ImprovedMatcher,
    TrainedNetworks,
)
from condense.methods.initialisation import initial_images
from condense.methods.unrolled import Weights
from condense.models.build import build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.images import blobs
from tests.helpers.methods import assert_resumes, same_sets, score

TINY = ImprovedDistributionMatching(
    ipc=2,
    network=Network(width=4),
    iterations=3,
    batch_real=8,
    net_num=2,
    net_steps=4,
    batch_train=16,
    lr_net=0.1,
    ce_weight=0.7,
)


def networks_of(data: ImageData, settings: ImprovedDistributionMatching) -> TrainedNetworks:
    return TrainedNetworks(data, settings, 0, default_strategy(data.hflip), Checkpointer())


def test_networks_are_trained_as_a_loop_written_out(data: ImageData) -> None:
    settings = replace(TINY, net_steps=20)
    networks = networks_of(data, settings)
    draws = generator(0, "network", 1)
    network = build(settings.network, data.shape, data.classes, draws)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    ages, rows = [1, 3, 10, 20], []
    for step in range(21):
        if step in ages:
            for name, tensor in networks.weights(1, ages.index(step)).items():
                torch.testing.assert_close(tensor, network.state_dict()[name], atol=1e-4, rtol=1e-3)
        if not rows:
            rows = list(torch.randperm(len(data.x_train), generator=draws).split(16))
        chosen = rows.pop(0)
        images = data.normalise(data.x_train[chosen])
        images = augment_batch(images, default_strategy(data.hflip), draws)
        optimizer.zero_grad()
        F.cross_entropy(network(images), data.y_train[chosen]).backward()
        optimizer.step()


def test_every_network_and_age_is_drawn_and_a_network_is_trained_once(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = TrainedNetworks._train

    def counted(self: TrainedNetworks, number: int) -> list[Weights]:
        trained.append(number)
        return train(self, number)

    monkeypatch.setattr(TrainedNetworks, "_train", counted)
    networks, draws = networks_of(data, TINY), generator(0, "many")
    found = {id(networks.sample(draws)) for _ in range(100)}
    assert len(found) == TINY.net_num * len(AGES)
    assert sorted(trained) == [0, 1]


def test_the_training_of_each_network_is_reported(data: ImageData) -> None:
    reports: dict[tuple[str, int], list[int]] = {}

    class Listening(Checkpointer):
        def stage(self, name: str, total: int, done: int) -> None:
            reports.setdefault((name, total), []).append(done)

    settings = replace(TINY, net_num=1, init="herding", herding_steps=2)
    settings = replace(settings, labels="soft", teacher_steps=3)
    condense(data, "idm", settings, checkpointer=Listening())
    assert reports == {
        ("training the network of herding", 2): [0, 1, 2],
        ("training network 1 of 1", 4): [0, 1, 2, 3, 4],
        ("training the teacher", 3): [0, 1, 2, 3],
    }


def test_few_steps_have_as_many_ages(data: ImageData) -> None:
    networks = networks_of(data, replace(TINY, net_num=1, net_steps=1))
    first, last = networks.weights(0, 0), networks.weights(0, 3)
    start = build(TINY.network, data.shape, data.classes, generator(0, "network", 0)).state_dict()
    assert all(tensor.equal(start[name]) for name, tensor in first.items())
    assert not all(tensor.equal(start[name]) for name, tensor in last.items())


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_loss_is_that_of_dm_and_a_cross_entropy(data: ImageData, norm: str) -> None:
    settings = replace(TINY, network=Network(width=4, norm=norm), augment="none")
    matcher = ImprovedMatcher(data, settings, 0, Checkpointer())
    images = initial_images(data, settings, 0)
    gradient, loss = matcher.match(images, generator(0, "step"))

    draws = generator(0, "step")
    network = build(settings.network, data.shape, data.classes)
    networks = TrainedNetworks(data, settings, 0, (), Checkpointer())
    network.load_state_dict(networks.sample(draws))
    members = [torch.where(data.y_train == c)[0] for c in range(data.classes)]
    rows = [row[torch.randperm(len(row), generator=draws)[:8]] for row in members]
    real = network.features(torch.cat([data.normalise(data.x_train[row]) for row in rows]))
    leaf = images.clone().requires_grad_()
    embedded = network.features(leaf.flatten(0, 1))
    expected = torch.zeros(())
    for c in range(data.classes):
        own = embedded[2 * c : 2 * c + 2]
        target = real[sum(map(len, rows[:c])) :][: len(rows[c])].mean(0).detach()
        entropy = F.cross_entropy(network.classifier(own), torch.tensor([c, c]))
        expected = expected + ((target - own.mean(0)) ** 2).sum() + 0.7 * entropy
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(expected, leaf)[0], atol=1e-5, rtol=1e-3
    )


def test_without_augmentation_the_networks_have_none(data: ImageData) -> None:
    assert (
        ImprovedMatcher(data, replace(TINY, augment="none"), 0, Checkpointer())._networks.strategy
        == ()
    )
    assert ImprovedMatcher(data, TINY, 0, Checkpointer())._networks.strategy == default_strategy(
        data.hflip
    )


def test_networks_that_do_not_fit_into_memory_are_an_error(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 20_000_000)
    wide = Network(width=128)
    few = replace(TINY, network=wide, iterations=5, net_num=1000)
    with pytest.raises(UserError, match="net-num 1000 is too large: keeping 20 copies needs"):
        ImprovedMatcher(data, few, 0, Checkpointer())
    ImprovedMatcher(data, replace(few, net_num=1), 0, Checkpointer())


def test_without_cross_entropy_the_loss_is_that_of_dm(data: ImageData) -> None:
    matcher = ImprovedMatcher(data, replace(TINY, ce_weight=0.0), 0, Checkpointer())
    target, embedded = torch.randn(data.classes, 3), torch.randn(data.classes, 5, 3)
    matcher.network.classifier = torch.nn.Linear(3, data.classes)
    whole = matcher.loss(target, embedded, slice(0, data.classes))
    assert float(whole) == pytest.approx(float((target - embedded.mean(1)).square().sum()))


def test_the_loss_of_some_classes_is_a_part_of_the_whole(data: ImageData) -> None:
    matcher = ImprovedMatcher(data, TINY, 0, Checkpointer())
    target, embedded = torch.randn(data.classes, 3), torch.randn(data.classes, 5, 3)
    matcher.network.classifier = torch.nn.Linear(3, data.classes)
    parts = [
        matcher.loss(target[part], embedded[part], part)
        for part in (slice(0, 1), slice(1, data.classes))
    ]
    whole = matcher.loss(target, embedded, slice(0, data.classes))
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-5)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(data: ImageData, norm: str) -> None:
    assert_resumes(data, "idm", replace(TINY, network=Network(width=4, norm=norm)), stop_at=1)


def test_seeds(data: ImageData) -> None:
    first, again, other = (condense(data, "idm", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_the_set_teaches_better_than_random_images() -> None:
    settings = ImprovedDistributionMatching(
        ipc=1,
        network=Network(width=8, depth=2),
        iterations=60,
        batch_real=64,
        lr_img=1.0,
        net_num=3,
        net_steps=60,
        batch_train=64,
        lr_net=0.1,
    )
    assert score("idm", settings) > score("random", Coreset(ipc=1)) + 0.05


def test_one_class_has_no_cross_entropy(data: ImageData) -> None:
    one = data.with_classes([0])
    made = condense(one, "idm", TINY)
    assert same_sets(made, condense(one, "idm", replace(TINY, ce_weight=9.0)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"net_num": 0}, "net-num must be at least 1"),
        ({"net_steps": 0}, "net-steps must be at least 1"),
        ({"batch_train": 0}, "batch-train must be at least 1"),
        ({"ce_weight": -1.0}, "ce-weight must be at least 0"),
        ({"lr_net": -0.1}, "lr-net must be at least 0"),
    ],
)
def test_settings_that_make_no_sense(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        condense(blobs(), "idm", preset="smoke", **changes)
