from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from condense import Network
from nas import Space
from nas.cost import PER_ACTIVATION, PER_NETWORK, cost
from tests.helpers.images import blobs


def test_a_convolution_and_a_linear_layer_by_hand() -> None:
    """8×8 pixels: 4·1·3·3 weights at 64 positions; then 3·256 weights once."""

    def build(value: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(256, classes))

    images = blobs()
    assert images.shape == (1, 8, 8)
    multiplications, activations = 36 * 64 + 768, 256 + 256 + 3
    expected = PER_NETWORK + multiplications + PER_ACTIVATION * activations
    assert cost(Space(["a"], build), 0, images) == expected


def test_wider_and_deeper_networks_without_pooling_cost_more() -> None:
    networks = [
        Network(width=8, depth=1, pooling="max"),
        Network(width=8, depth=1, pooling="none"),
        Network(width=8, depth=2, pooling="none"),
        Network(width=16, depth=2, pooling="none"),
    ]
    costs = [cost(Space(networks), index, blobs()) for index in range(len(networks))]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)


class Odd(nn.Module):
    """It looks at values, which there are none of without memory."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else -x


@pytest.mark.parametrize("value", ["fails", "odd"])
def test_what_cannot_be_estimated_costs_little(value: str) -> None:
    def build(value: str, *_: object) -> nn.Module:
        return {"odd": Odd()}[value]

    assert cost(Space([value], build), 0, blobs()) == PER_NETWORK


def test_estimating_takes_no_random_numbers() -> None:
    before = torch.random.get_rng_state()
    cost(Space([1], lambda *_: nn.Linear(3, 3)), 0, blobs())
    assert torch.equal(before, torch.random.get_rng_state())
