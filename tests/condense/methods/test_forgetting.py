"""Forgetting events counted by a plain loop, and what is kept of a class."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.config.methods import Forgetting
from condense.config.network import Network
from condense.errors import UserError
from condense.methods.forgetting import (
    NEVER_LEARNT,
    Record,
    count_forgetting,
    learning_rate,
    most_forgotten,
)
from condense.models.build import build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.images import blobs
from tests.helpers.methods import Kept, KilledError, assert_resumes, same_sets

TINY = Forgetting(ipc=2, network=Network(width=4), epochs=4, batch_size=7, lr=0.3)


def reference_count(data, settings):
    """Toneva et al. 2019, Algorithm 1, an image at a time; and the weights' updates by hand."""
    network = build(settings.network, data.shape, data.classes, generator(0, "network"))
    velocity = [torch.zeros_like(weight) for weight in network.parameters()]
    accuracy, ever, events = {}, set(), dict.fromkeys(range(len(data.x_train)), 0)
    for epoch in range(settings.epochs):
        done = epoch / settings.epochs
        lr = settings.lr / (125 if done >= 0.8 else 25 if done >= 0.6 else 5 if done >= 0.3 else 1)
        order = torch.randperm(len(data.x_train), generator=generator(0, "epoch", epoch)).tolist()
        while order:
            batch, order = order[: settings.batch_size], order[settings.batch_size :]
            logits = network(data.normalise(data.x_train[batch]))
            for row, output in zip(batch, logits.tolist(), strict=True):
                right = output.index(max(output)) == int(data.y_train[row])
                if accuracy.get(row) and not right:
                    events[row] += 1
                accuracy[row] = right
                if right:
                    ever.add(row)
            loss = F.cross_entropy(logits, data.y_train[batch])
            gradients = torch.autograd.grad(loss, list(network.parameters()))
            with torch.no_grad():
                for weight, v, gradient in zip(
                    network.parameters(), velocity, gradients, strict=True
                ):
                    downhill = gradient + settings.weight_decay * weight
                    v.mul_(settings.momentum).add_(downhill)
                    weight.sub_(lr * (downhill + settings.momentum * v))  # Nesterov's
    return [events[row] if row in ever else NEVER_LEARNT for row in events]


def hard_blobs(per_class=12, every=5):
    """Blobs of which every fifth image bears the label of another class."""
    data = blobs(per_class)
    labels = data.y_train.clone()
    labels[::every] = (labels[::every] + 1) % data.classes
    return replace(data, y_train=labels)


def test_events_are_those_of_a_plain_loop():
    data = hard_blobs()
    counted = count_forgetting(data, TINY, 0, Checkpointer()).tolist()
    assert counted == reference_count(data, TINY)
    assert len(set(counted)) > 2, "this case tells too little"


def test_an_event_is_wrong_now_and_right_when_last_seen():
    record = Record.empty(4, torch.device("cpu"))
    for right in ([1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 1, 0], [1, 0, 1, 1], [0, 0, 1, 1]):
        record.see(torch.tensor([3, 1, 0, 2]), torch.tensor(right, dtype=torch.bool))
    assert record.events[[3, 1, 0, 2]].tolist() == [2, 0, 0, 1]
    assert record.forgotten()[[3, 1, 0, 2]].tolist() == [2, NEVER_LEARNT, 0, 1]
    record.see(torch.tensor([3]), torch.tensor([True]))  # the others are as they were
    assert record.right.tolist() == [True, False, True, True]


def test_the_most_forgotten_of_each_class_are_kept(data):
    forgotten = torch.randperm(len(data.x_train), generator=generator(1))
    rows = most_forgotten(data, forgotten, 3, seed=0)
    for label, chosen in enumerate(rows.tolist()):
        members = [row for row, y in enumerate(data.y_train.tolist()) if y == label]
        assert chosen == sorted(members, key=lambda row: -int(forgotten[row]))[:3]


def test_ties_are_broken_at_random_from_the_seed(data):
    equal = torch.zeros(len(data.x_train), dtype=torch.int64)
    first, again, other = (most_forgotten(data, equal, 3, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.flatten().tolist() != sorted(first.flatten().tolist())
    equal[first[:, 2]] = 1
    assert torch.equal(most_forgotten(data, equal, 1, seed=5)[:, 0], first[:, 2])


def test_mislabelled_images_are_forgotten_most():
    data = hard_blobs(per_class=40, every=10)
    settings = Forgetting(ipc=2, network=Network("mlp"), epochs=10, batch_size=12, lr=0.01)
    small = condense(data, "forgetting", settings)
    wrong = {image.numpy().tobytes() for image in data.x_train[::10]}
    kept = (small.images * 255).round().to(torch.uint8)
    assert sum(image.numpy().tobytes() in wrong for image in kept) >= 5
    assert small.labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("stop_at", [1, 3])
def test_a_resumed_run_gives_the_bits_of_an_uninterrupted_one(stop_at):
    settings = replace(TINY, network=Network(width=4, norm="batch"))
    assert_resumes(hard_blobs(), "forgetting", settings, stop_at)
    checkpointer = Kept(stop_at)
    with pytest.raises(KilledError):
        count_forgetting(hard_blobs(), settings, 0, checkpointer)
    counted = [
        count_forgetting(hard_blobs(), settings, 0, kept) for kept in (checkpointer, Checkpointer())
    ]
    assert torch.equal(*counted)


def test_seeds(data):
    first, again, other = (condense(data, "forgetting", TINY, seed=seed) for seed in (1, 1, 2))
    assert same_sets(first, again)
    assert not same_sets(first, other)


def test_the_learning_rate_falls_at_30_60_and_80_per_cent():
    lrs = [learning_rate(Forgetting(epochs=10, lr=1.0), epoch) for epoch in range(10)]
    expected = [1, 1, 1, 0.2, 0.2, 0.2, 0.04, 0.04, 0.008, 0.008]
    assert lrs == pytest.approx(expected)


def test_a_network_that_diverges_counts_nothing(data):
    network = Network(width=4, depth=1, norm="none")
    with pytest.raises(UserError, match="diverged in epoch 1: use a lower learning rate"):
        condense(data, "forgetting", replace(TINY, network=network, lr=1e20))


def test_settings_that_make_no_sense(data):
    with pytest.raises(UserError, match="epochs must be at least 1"):
        condense(data, "forgetting", epochs=0)
    with pytest.raises(UserError, match="fewer than 99"):
        condense(data, "forgetting", ipc=99)
