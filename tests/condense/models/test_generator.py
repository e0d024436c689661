"""The generator of images, layer by layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.models.generator import Generator
from condense.seeds import generator


def weight(layer: nn.Module) -> Tensor:
    """g · v / |v|, with a norm for each output."""
    stored = layer.parametrizations.weight
    direction = stored.original1
    return stored.original0 * direction / direction.flatten(1).norm(dim=1).view_as(stored.original0)


def test_images_of_the_generator_by_hand() -> None:
    made = Generator(3, 2, (1, 6, 5), 4, generator(0))
    inputs, classes = torch.randn(2, 3, generator=generator(1)), torch.eye(2)

    first, second, third, last = (made.layers[number] for number in (0, 2, 6, 9))
    hidden = F.leaky_relu(torch.cat([inputs, classes], 1) @ weight(first).T + first.bias, 0.1)
    hidden = F.leaky_relu(hidden @ weight(second).T + second.bias, 0.1).view(2, 8, 2, 2)
    hidden = F.interpolate(hidden, (4, 4))
    hidden = F.leaky_relu(F.conv2d(hidden, weight(third), third.bias, padding=1), 0.1)
    hidden = F.interpolate(hidden, (6, 5))
    expected = 2 * F.conv2d(hidden, weight(last), last.bias, padding=1).tanh()
    torch.testing.assert_close(made(inputs, classes), expected)


def test_the_weights_depend_on_the_generator_alone() -> None:
    one, again, other = (Generator(3, 2, (1, 8, 8), 4, generator(seed)) for seed in (0, 0, 1))
    weights = [made.layers[6].weight for made in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
