from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from condense import Network
from nas import Space, Training, make_proxy
from nas.cost import PER_ACTIVATION, PER_NETWORK, cost
from nas.objective import train_architecture
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
    """It looks at values, which a network without memory has none of."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum().item() > 0 else -x


def test_a_network_that_looks_at_values_is_estimated() -> None:
    space = Space(["odd"], lambda *_: Odd(), "1")
    assert cost(space, 0, blobs()) == PER_NETWORK + PER_ACTIVATION * 64


def test_what_cannot_be_built_costs_little() -> None:
    assert cost(Space(["fails"], lambda *_: 1 / 0, "1"), 0, blobs()) == PER_NETWORK


KEPT: dict[int, Tensor] = {}


def mask(pixels: int, device: torch.device | None = None) -> Tensor:
    """A constant that the user's code computes once and keeps."""
    if pixels not in KEPT:
        KEPT[pixels] = torch.arange(pixels, device=device) % 2
    return KEPT[pixels]


class Masked(nn.Module):
    """It has its mask when it is built, or finds it at the first image."""

    def __init__(self, mask: Tensor | None = None) -> None:
        super().__init__()
        self.mask = mask
        self.linear = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        found = mask(64, x.device) if self.mask is None else self.mask
        logits: Tensor = self.linear(x.flatten(1) * found)
        return logits


BUILDS: dict[str, Callable[..., nn.Module]] = {
    "when it is built": lambda *_: Masked(mask(64)),
    "at its first image": lambda *_: Masked(),
}


@pytest.mark.parametrize("kept", BUILDS)
def test_what_ones_own_code_keeps_is_fit_for_the_training(kept: str) -> None:
    KEPT.clear()
    space, data = Space([kept], BUILDS[kept], "1"), blobs()
    assert cost(space, 0, data) > PER_NETWORK
    assert KEPT
    training = Training(steps=2, batch_size=30)
    proxy = make_proxy("whole", data, None, training, 0)
    assert train_architecture(space, 0, proxy, data, training, 0).reason is None


def test_layers_that_networks_share_are_left_as_they_were() -> None:
    shared = nn.Linear(64, 64).requires_grad_(False)
    space = Space(["a"], lambda *_: nn.Sequential(nn.Flatten(), shared, nn.Linear(64, 3)), "1")
    assert cost(space, 0, blobs()) > PER_NETWORK
    assert shared.training
    assert not shared._forward_hooks


def test_estimating_takes_no_random_numbers() -> None:
    before = torch.random.get_rng_state()
    cost(Space([1], lambda *_: nn.Linear(8, 3)), 0, blobs())
    assert torch.equal(before, torch.random.get_rng_state())
