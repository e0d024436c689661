"""Networks trained together against the same networks trained one after the other."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from condense import evaluation
from condense.api import condense
from condense.augment.operations import OPERATIONS
from condense.augment.params import augment_batch, augment_batches
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.evaluation import evaluate
from condense.models.build import build
from condense.seeds import generator
from condense.training.ensembles import divided_networks, max_networks, train_together
from condense.training.loop import train
from condense.training.schedule import Schedule
from tests.helpers.methods import Kept, KilledError

SMALL = Network(width=4, depth=2)
QUICK = Evaluation(
    num_eval=3, epoch_eval_train=15, lr=0.05, batch_size=4, weight_decay=0.1, network=SMALL
)


@pytest.mark.parametrize("shared", [True, False])
def test_each_batch_is_augmented_with_draws_of_its_own(shared):
    batches = torch.randn(9, 4, 3, 12, 12, generator=generator(0))
    ours, theirs = ([generator(1, number) for number in range(9)] for _ in range(2))
    names = tuple(OPERATIONS)
    for _ in range(3):
        made = augment_batches(batches, ours, names, shared=shared)
        for batch, got, own in zip(batches, made, theirs, strict=True):
            torch.testing.assert_close(got, augment_batch(batch, names, own, shared=shared))


@pytest.mark.parametrize(
    "network",
    [SMALL, *(replace(SMALL, norm=norm) for norm in ("layer", "group", "none")),
     replace(SMALL, pooling="max", activation="leakyrelu"), Network("mlp")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize(
    ("strategy", "shared"),
    [((), False), (("crop", "color", "rotate"), False), (("cutout",), True)],
)
def test_together_or_alone_is_the_same(data, network, strategy, shared):
    changes = {"strategy": strategy, "shared": shared}
    images, labels = data.normalise(data.x_train), data.y_train
    schedule = Schedule(9, 16, 0.1, 0.9, 1e-2, milestones=(0.5,))
    alone = [build(network, data.shape, 3, generator(0, number)) for number in range(3)]
    together, start = copy.deepcopy(alone), copy.deepcopy(alone)
    draws, own = ([generator(1, number) for number in range(3)] for _ in range(2))
    transform = partial(augment_batches, generators=draws, **changes) if strategy else None
    train_together(together, images, labels, schedule, draws, transform)
    for one, other, before, drawn, mine in zip(alone, together, start, own, draws, strict=True):
        transform = partial(augment_batch, generator=drawn, **changes) if strategy else None
        train(one, images, labels, schedule, drawn, transform=transform)
        for a, b, c in zip(one.parameters(), other.parameters(), before.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)
            assert not torch.equal(b, c)
        assert torch.equal(drawn.get_state(), mine.get_state())


def test_soft_labels(data):
    images, soft = data.normalise(data.x_train), F.one_hot(data.y_train, 3).float()
    found = []
    for labels in (data.y_train, soft):
        networks = [build(SMALL, data.shape, 3, generator(0, number)) for number in range(2)]
        draws = [generator(1, number) for number in range(2)]
        train_together(networks, images, labels, Schedule(5, 16, 0.1), draws)
        found.append([p for network in networks for p in network.parameters()])
    torch.testing.assert_close(found[0], found[1])


def test_the_device_decides_how_many():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    plain, batch = (
        build(replace(SMALL, norm=norm), (1, 8, 8), 3) for norm in ("instance", "batch")
    )
    assert max_networks(plain, (1, 8, 8), cpu, 100) == 1
    assert max_networks(batch, (1, 8, 8), gpu, 100) == 1
    assert max_networks(plain, (1, 8, 8), gpu, 100) > 20
    wide = build(Network(), (3, 32, 32), 10)
    assert 1 < max_networks(wide, (3, 32, 32), gpu, 256) < 20


def test_on_a_gpu_each_process_trains_networks(monkeypatch):
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert divided_networks(20, 100, gpu) == 20
    monkeypatch.setattr("condense.training.ensembles.world_size", lambda: 8)
    assert divided_networks(20, 100, gpu) == 3
    assert divided_networks(20, 2, gpu) == 2
    assert divided_networks(1, 100, gpu) == 1
    assert divided_networks(0, 100, gpu) == 1
    assert divided_networks(20, 1, cpu) == 1


def test_an_evaluation_divides_its_networks(data, monkeypatch):
    monkeypatch.setattr(evaluation, "max_networks", lambda *_: 100)
    monkeypatch.setattr(evaluation, "divided_networks", lambda count, *_: count - 1)
    trained, sizes = evaluation._trained, []

    def noted(*arguments):
        networks = trained(*arguments)
        sizes.append(len(networks))
        return networks

    monkeypatch.setattr(evaluation, "_trained", noted)
    evaluate(condense(data, "random", ipc=2), data, QUICK)
    assert sizes == [2, 1]


@pytest.mark.parametrize("together", [2, 5])
@pytest.mark.parametrize("augment", ["independent", "siamese", "none"])
def test_an_evaluation_of_networks_together_gives_the_same_accuracies(
    data, monkeypatch, together, augment
):
    small = condense(data, "random", ipc=2)
    settings = replace(QUICK, augment=augment)
    alone = evaluate(small, data, settings).values
    assert len(set(alone)) > 1
    monkeypatch.setattr(evaluation, "max_networks", lambda *_: together)
    one_image = 1 / len(data.x_test)
    assert evaluate(small, data, settings).values == pytest.approx(alone, abs=1.01 * one_image)


@pytest.mark.parametrize("stop_at", [1, 2])
def test_an_interrupted_evaluation_goes_on_wherever_it_stopped(data, monkeypatch, stop_at):
    monkeypatch.setattr(evaluation, "max_networks", lambda *_: 2)
    small = condense(data, "random", ipc=2)
    whole = evaluate(small, data, QUICK).values
    checkpointer = Kept(stop_at)
    with pytest.raises(KilledError):
        evaluate(small, data, QUICK, checkpointer=checkpointer)
    assert len(checkpointer.kept.state["values"]) == min(2 * stop_at, QUICK.num_eval)  # both
    assert evaluate(small, data, QUICK, checkpointer=checkpointer).values == whole
