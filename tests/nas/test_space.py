from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from condense import Network, UserError, generator
from nas import Space, convnets, stratified_order
from nas.objective import count_parameters, make_network
from tests.helpers.images import blobs


def published_parameters(network: Network, channels: int, side: int, classes: int) -> int:
    """The count of the published networks, whose layer norm is over elements, not over channels."""
    total = 0
    for _ in range(network.depth):
        total += channels * 9 * network.width + network.width
        scales = {"none": 0, "layer": network.width * side**2}.get(network.norm, network.width)
        total += 2 * scales
        channels = network.width
        side //= 1 if network.pooling == "none" else 2
    return total + channels * side * side * classes + classes


def test_the_720_have_the_published_numbers_of_parameters() -> None:
    space = convnets()
    assert len(space) == 720
    assert len(set(space.names)) == 720
    images = blobs(classes=10, per_class=1, shape=(3, 32, 32))
    for index, network in enumerate(space.architectures):
        expected = published_parameters(network, 3, 32, 10)
        assert count_parameters(space, index, images) == expected, space.names[index]


def test_so_have_those_with_layer_norm_on_grey_images_that_are_seen_larger() -> None:
    space = convnets()
    layer_norm = [i for i, network in enumerate(space.architectures) if network.norm == "layer"]
    assert len(layer_norm) == 144
    images = blobs(classes=10, per_class=1, shape=(1, 28, 28))
    for index in layer_norm:
        expected = published_parameters(space.architectures[index], 1, 32, 10)
        assert count_parameters(space, index, images) == expected, space.names[index]


def test_index_and_name_are_stable() -> None:
    space = convnets()
    assert space.names[0] == "d1-w32-sigmoid-none-none"
    assert space.names[719] == "d4-w256-leakyrelu-group-avg"
    assert space.names.index("d3-w128-relu-instance-avg") == 476
    levels = {name: len(set(column)) for name, column in space.factors.items()}
    assert levels == {"depth": 4, "width": 4, "activation": 3, "norm": 5, "pooling": 3}


def test_a_stratified_part_of_the_720_runs_forward_and_backward() -> None:
    space = convnets()
    images = blobs(classes=10, per_class=1, shape=(3, 16, 16))
    x, y = images.normalise(images.x_train[:4]), images.y_train[:4]
    for index in space.order()[:36]:
        network = make_network(space, index, images, generator(0, "test"))
        logits = network(x)
        assert logits.shape == (4, 10)
        F.cross_entropy(logits, y).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, (space.names[index], name)
            assert parameter.grad.isfinite().all()


def test_every_beginning_of_the_order_has_the_levels_evenly() -> None:
    space = convnets()
    order = space.order()
    assert sorted(order) == list(range(720))
    assert order == convnets().order()
    for column in space.factors.values():
        counts = Counter(dict.fromkeys(column, 0))
        for index in order[:100]:
            counts[column[index]] += 1
            assert max(counts.values()) - min(counts.values()) <= 1
    for one, other in combinations(space.factors.values(), 2):
        pairs = Counter((one[index], other[index]) for index in order[:60])
        assert len(pairs) == len(set(one)) * len(set(other))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab")), min_size=1, max_size=40))
def test_any_space_has_an_order(levels: list[tuple[int, str]]) -> None:
    order = stratified_order([[a for a, _ in levels], [b for _, b in levels]])
    assert sorted(order) == list(range(len(levels)))


def reference_order(factors: list[list[str]]) -> list[int]:
    """The definition, step by step."""
    count = len(factors[0])
    random = np.random.default_rng(generator(0, "stratified order").initial_seed())
    tie_break = random.permutation(count)
    pairs = [list(zip(a, b, strict=True)) for a, b in combinations(factors, 2)]
    # As many as the product of the levels, less those of the last that do not occur.
    levels = [len(set(factor)) for factor in factors]
    sizes = []
    for (a, b), pair in zip(combinations(factors, 2), pairs, strict=True):
        first, second = sorted(set(a)), sorted(set(b))
        largest = max(pair)
        sizes.append(first.index(largest[0]) * len(second) + second.index(largest[1]) + 1)
    order: list[int] = []
    for _ in range(count):

        def due(index: int) -> tuple[int, int, int]:
            single = sum(
                size * sum(factor[other] == factor[index] for other in order)
                for size, factor in zip(levels, factors, strict=True)
            )
            paired = sum(
                size * sum(pair[other] == pair[index] for other in order)
                for size, pair in zip(sizes, pairs, strict=True)
            )
            return single, paired, int(tie_break[index])

        order.append(min((i for i in range(count) if i not in order), key=due))
    return order


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3), min_size=1, max_size=14))
def test_the_order_is_the_one_of_the_definition(levels: list[tuple[str, str, str]]) -> None:
    factors = [[level[place] for level in levels] for place in range(3)]
    factors.append([f"unique {number}" for number in range(len(levels))])
    assert stratified_order(factors) == reference_order(factors)


def test_a_sample_is_the_beginning_of_the_order() -> None:
    """Computed alone: the whole order of 100,000 architectures took a minute and a half."""
    whole = convnets().order()
    for count in (1, 36, 1000):
        assert convnets().order(count) == whole[:count]


def test_a_space_is_put_in_order_once(monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space([Network(width=width) for width in range(1, 10)])
    computed = Mock(wraps=stratified_order)
    monkeypatch.setattr("nas.space.stratified_order", computed)
    order = space.order(5)
    assert (space.order(5), space.order(3)) == (order, order[:3])
    assert computed.call_count == 1


def test_names_alone_have_a_random_order() -> None:
    names = [f"network {number}" for number in range(10_000)]
    assert sorted(stratified_order([names])) == list(range(10_000))


def test_levels_are_the_same_in_every_process() -> None:
    @dataclass(frozen=True)
    class Net:
        width: int
        act: Callable[[torch.Tensor], torch.Tensor]

        def __str__(self) -> str:
            return f"{self.width}-{self.act.__name__}"

    nets = [Net(width, act) for width in (8, 16) for act in (F.relu, torch.tanh)]
    factors = Space(nets, build=lambda net, shape, classes: torch.nn.Flatten()).factors
    assert factors["width"] == (8, 8, 16, 16)
    assert factors["act"] == 2 * ("<function relu>", "<built-in method tanh of type object>")


def test_spaces_that_make_no_sense() -> None:
    with pytest.raises(UserError, match="at least one"):
        Space([])
    with pytest.raises(UserError, match="twice: w128"):
        Space([Network(), Network()])
    with pytest.raises(UserError, match="function `build`"):
        Space(["resnet"])
    with pytest.raises(UserError, match="build must be a function, not 'build'"):
        Space(["resnet"], build="build")
    with pytest.raises(UserError, match="version must be a text, not 2"):
        Space(["resnet"], build=print, version=2)
    for value in ("a\nb", "a\n", "\u2028", torch.nn.Sequential(torch.nn.ReLU())):
        with pytest.raises(UserError, match=r"several lines, .*: give .* a __str__ of one line"):
            Space([value], build=print)
    for value in (object(), (1, print, lambda: 0)):
        with pytest.raises(UserError, match=r"another one in every process: give .* a __str__"):
            Space([value], build=print)
