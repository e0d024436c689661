"""Heads of a network, and how they grow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.models import MTSimpleMLP, SimpleCNN, SimpleMLP

from condense import Classifier, UserError, build, generator
from continual import HEADS, HerdingBuffer, make_benchmark, with_heads
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil


def test_task_heads_use_the_head_of_the_task() -> None:
    strategy = tiny_eeil("task")
    strategy.train(make_benchmark(tasks()[:2], "task").train_stream, eval_streams=[])
    model, images = strategy.model, torch.randn(4, 3, 16, 16, generator=generator(0))
    with torch.no_grad():
        first, second = model.logits(images)
        scores = model(images, torch.tensor([1, 0, 0, 1]))
    torch.testing.assert_close(scores, torch.stack([second[0], first[1], first[2], second[3]]))
    with torch.no_grad():
        every = model(images)  # as Avalanche's LwF plugin asks
    assert torch.equal(every[0], first)
    assert torch.equal(every[1], second)
    with pytest.raises(UserError, match="need task labels: use heads of kind domain or class"):
        model.combine([first, second], None)


def test_a_task_that_grows_has_no_head_for_it() -> None:
    strategy = tiny_eeil("task")
    with pytest.raises(
        UserError,
        match="task 0 has a head of 10 classes and cannot learn class 19: use heads of kind class",
    ):
        strategy.train(make_benchmark(tasks()[:2], "class").train_stream, eval_streams=[])


def test_class_heads_grow_and_a_shared_head_does_not() -> None:
    stream = make_benchmark(tasks(), "class").train_stream
    growing, shared = tiny_eeil("class").model.train(), tiny_eeil("domain").model.train()
    for count, experience in enumerate(stream, 1):
        growing.adaptation(experience)
        assert growing.sizes == [10] * count
        assert growing.newest == count - 1
        assert growing(torch.randn(2, 3, 16, 16, generator=generator(0))).shape == (2, 10 * count)
    shared.adaptation(stream[0])
    shared.adaptation(stream[0])
    assert shared.sizes == [10]
    with pytest.raises(UserError, match="cannot learn class 19: use heads of kind class, or"):
        shared.adaptation(stream[1])


@pytest.mark.parametrize("network", [torch.nn.Linear(2, 2), SimpleCNN(), MTSimpleMLP()])
def test_a_network_without_a_linear_classifier_is_one_line(network: Any) -> None:
    kind = type(network).__name__
    expected = rf"{kind} has no linear `classifier`, .* make continual\.HEADS\['class'\]\("
    with pytest.raises(UserError, match=expected):
        with_heads("class", network)


def test_heads_on_features_of_ones_own() -> None:
    """As the message about a network without a linear classifier says."""
    strategy = tiny_eeil(model=HEADS["class"](SimpleCNN().features, 64), memory=HerdingBuffer(20))
    strategy.train(make_benchmark(tasks()[:2], "class").train_stream)
    assert strategy.model.sizes == [10, 10]


@pytest.mark.parametrize("head", HEADS)
def test_heads_on_a_network_of_avalanche_that_flattens_its_images(head: str) -> None:
    network = SimpleMLP(input_size=3 * 16 * 16, hidden_size=8, drop_rate=0)
    strategy = tiny_eeil(model=with_heads(head, network), memory=HerdingBuffer(20))
    images = torch.randn(2, 3, 16, 16, generator=generator(0))
    expected = network.get_features(images)
    assert torch.equal(strategy.model.features(images), expected)
    strategy.train(make_benchmark(tasks()[:2], head).train_stream)
    assert len(strategy.memory.buffer) == 20
    assert torch.equal(network.get_features(images), expected), "the network was changed"


def test_class_heads_take_classes_in_any_order() -> None:
    growing = tiny_eeil("class").model.train()
    images = torch.randn(2, 3, 16, 16, generator=generator(0))
    for classes in ({5, 2}, {2, 0}, {1}):
        growing.adaptation(SimpleNamespace(classes_in_this_experience=classes))
    assert growing.sizes == [2, 1, 1]
    assert growing.classes == [2, 5, 0, 1]
    found, heads = growing(images), torch.cat(growing.logits(images), 1)
    assert found.shape == (2, 6)
    assert torch.equal(found[:, [2, 5, 0, 1]], heads)
    assert (found[:, [3, 4]] == -torch.inf).all()


def test_evaluation_adds_no_head_and_weights_come_from_the_seed() -> None:
    experience = make_benchmark(tasks(), "class").train_stream[0]
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(heads))
        model = with_heads("class", _network(), seed)
        model.eval()
        model.adaptation(experience)
        assert not model.sizes
        model.train()
        model.adaptation(experience)
        heads.append(model.heads[0].weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    model.adaptation(make_benchmark(tasks(), "class").train_stream[1])
    assert not torch.equal(model.heads[1].weight, heads[2])


def _network() -> Classifier:
    return build(TINY_EEIL.network, (3, 16, 16), 10, generator(0))


def test_an_unknown_head_names_the_known() -> None:
    with pytest.raises(UserError, match="unknown kind of head 'clas'; known: class"):
        with_heads("clas", _network())
    assert set(HEADS) == {"domain", "task", "class"}
