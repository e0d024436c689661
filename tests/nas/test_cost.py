from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense import Network, UserError
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


class Tokens(nn.Module):
    """Each row of 8 pixels is a token."""

    def __init__(self, layer: nn.Module, attend: Callable[..., Any] | None = None) -> None:
        super().__init__()
        self.layer, self.attend = layer, attend

    def forward(self, images: Tensor) -> Any:
        tokens = images.flatten(0, 1)
        return self.layer(tokens) if self.attend is None else self.attend(self.layer, tokens)


def attend_to_some(attention: nn.Module, tokens: Tensor) -> Any:
    """All 8 tokens look for the first 3."""
    return attention(tokens, value=tokens[:, :3], key=tokens[:, :3])[0]


def sequence_first(attention: nn.Module, tokens: Tensor) -> Any:
    tokens = tokens.transpose(0, 1)
    return attention(tokens, tokens, tokens)


PROJECTIONS = 4 * 8 * 8 * 8
"""Queries, keys, values and outputs of 8 tokens of 8 features."""


@pytest.mark.parametrize(
    ("layer", "attend", "multiplications", "activations"),
    [
        (lambda: nn.Linear(8, 5), None, 8 * 5 * 8, 5 * 8),
        (lambda: nn.Conv1d(8, 5, 3, padding=1), None, 8 * 5 * 3 * 8, 5 * 8),
        (lambda: nn.GRU(8, 5, batch_first=True), None, 3 * 5 * (8 + 5) * 8, 5 * 8),
        (lambda: nn.MultiheadAttention(8, 2), sequence_first, PROJECTIONS + 2 * 8 * 8 * 8, 8 * 8),
        (
            lambda: nn.MultiheadAttention(8, 2, batch_first=True),
            attend_to_some,
            (2 * 8 + 2 * 3) * 8 * 8 + 2 * 8 * 3 * 8,
            8 * 8,
        ),
        (  # two norms, two dropouts and their sums; 16 hidden features and their dropout
            lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
            None,
            PROJECTIONS + 2 * 8 * 8 * 8 + 2 * 8 * 16 * 8,
            6 * 8 * 8 + 2 * 16 * 8,
        ),
        (
            lambda: nn.Embedding(1000, 8),
            lambda layer, tokens: layer(tokens[..., 0].long()),
            0,
            8 * 8,
        ),
    ],
    ids=["linear", "convolution", "recurrent", "attention", "to some", "transformer", "embedding"],
)
def test_layers_of_tokens_by_hand(
    layer: Callable[[], nn.Module],
    attend: Callable[..., Any] | None,
    multiplications: int,
    activations: int,
) -> None:
    space = Space(["a"], lambda *_: Tokens(layer(), attend), "1")
    expected = PER_NETWORK + multiplications + PER_ACTIVATION * activations
    assert cost(space, 0, blobs()) == expected


def test_a_device_that_fails_is_said() -> None:
    """Else the search would go on with a device that cannot be used."""

    def failing(layer: nn.Module, tokens: Tensor) -> Any:
        raise torch.AcceleratorError("CUDA error: device-side assert triggered")

    space = Space(["a"], lambda *_: Tokens(nn.Linear(8, 3), failing), "1")
    with pytest.raises(UserError, match=r"a: the device failed: CUDA error: .*: leave it out"):
        cost(space, 0, blobs())


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
