"""The training loop against PyTorch's own parts put together by hand."""

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from condense.augment.params import augment_batch
from condense.config.network import Network
from condense.errors import UserError
from condense.models.build import build, initialise
from condense.seeds import derive, generator
from condense.training.loop import batches, in_chunks, train
from condense.training.schedule import Schedule
from tests.helpers.images import blobs


def reference(network, images, labels, schedule, draws, strategy=()):
    """An epoch loop with a DataLoader, a scheduler and SGD, as a tutorial would write it."""
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    milestones = [round(drop * schedule.steps) for drop in schedule.milestones]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, gamma=0.1)
    step = 0
    while step < schedule.steps:
        order = torch.randperm(len(images), generator=draws).tolist()
        for batch, target in DataLoader(
            TensorDataset(images, labels), schedule.batch_size, sampler=order
        ):
            if step == schedule.steps:
                break
            if strategy:
                batch = augment_batch(batch, strategy, draws)
            optimizer.zero_grad()
            F.cross_entropy(network(batch), target).backward()
            optimizer.step()
            scheduler.step()
            step += 1


@pytest.mark.parametrize("strategy", [(), ("crop", "color")])
def test_train_is_the_tutorial_loop(data, strategy):
    schedule = Schedule(17, 16, 0.1, 0.9, 1e-3, milestones=(0.5, 0.8))
    images, labels = data.normalise(data.x_train), data.y_train
    one = build(Network(width=4), data.shape, 3, generator(0))
    two = copy.deepcopy(one)
    draws = generator(1)
    augment = partial(augment_batch, strategy=strategy, generator=draws)
    train(one, images, labels, schedule, draws, transform=augment if strategy else None)
    reference(two, images, labels, schedule, generator(1), strategy)
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_transform_makes_a_batch_of_what_is_stored(data):
    schedule = Schedule(5, 16, 0.1)
    one = build(Network(width=4), data.shape, 3, generator(0))
    two = copy.deepcopy(one)
    train(one, data.x_train, data.y_train, schedule, generator(1), transform=data.normalise)
    train(two, data.normalise(data.x_train), data.y_train, schedule, generator(1))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)


def test_soft_labels_that_are_hard_train_as_hard_ones(data):
    schedule = Schedule(5, 16, 0.1)
    images, soft = data.normalise(data.x_train), F.one_hot(data.y_train, 3).float()
    one = build(Network(width=4), data.shape, 3, generator(0))
    two = copy.deepcopy(one)
    train(one, images, data.y_train, schedule, generator(1))
    train(two, images, soft, schedule, generator(1))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_epochs_in_steps():
    assert Schedule.of_epochs(3, images=100, batch_size=32, lr=0.1).steps == 12


def test_batches_visit_everything_once_an_epoch():
    rows = batches(10, 4, generator(0))
    for _ in range(3):
        epoch = torch.cat([next(rows) for _ in range(3)])
        assert sorted(epoch.tolist()) == list(range(10))


def test_in_chunks_changes_nothing():
    images = torch.randn(11, 2, generator=generator(0))
    assert torch.equal(in_chunks(lambda x: 2 * x, images, chunk_size=4), 2 * images)


def test_training_learns():
    data = blobs(per_class=50)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    initialise(network, generator(1))
    schedule = Schedule(100, 32, 0.05)
    train(network, data.x_train, data.y_train, schedule, generator(0), transform=data.normalise)
    right = network(data.normalise(data.x_test)).argmax(1) == data.y_test
    assert right.float().mean() > 0.8


def test_streams_of_random_numbers():
    def numbers(*names):
        return torch.rand(4, generator=generator(*names)).tolist()

    assert numbers(0, "a", 1) == numbers(0, "a", 1)
    different = [numbers(*names) for names in ((0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2))]
    assert len(set(map(tuple, different))) == 4
    assert derive(0, "1") != derive(0, 1)
    assert derive(0, "x") == 7_329_383_403_727_699_100  # the same on every machine and version


def test_before_each_update_somebody_may_stop_it(data):
    seen = []

    def look(done):
        seen.append(done)
        if done == 3:
            raise StopIteration

    network = build(Network(width=4), data.shape, 3, generator(0))
    with pytest.raises(StopIteration):
        train(
            network, data.x_train, data.y_train, Schedule(9, 16, 0.1), generator(1),
            transform=data.normalise, before_step=look,
        )  # fmt: skip
    assert seen == [0, 1, 2, 3]


def test_a_batch_of_one_image_without_statistics_is_one_line():
    network = build(Network("resnet18", norm="batch"), (1, 8, 8), 2, generator(0))
    images, labels = torch.randn(3, 1, 8, 8), torch.tensor([0, 1, 0])
    with pytest.raises(UserError, match="a batch has one image, of which a batch norm has no"):
        train(network, images, labels, Schedule(4, batch_size=2, lr=0.01), generator(1))


def test_a_single_step_has_the_whole_learning_rate():
    weight = torch.zeros(1, requires_grad=True)
    schedule = Schedule(1, batch_size=1, lr=0.1, milestones=(0.5,))
    optimizer = schedule.optimizer([weight])
    schedule.adjust(optimizer, 0)
    assert optimizer.param_groups[0]["lr"] == 0.1
