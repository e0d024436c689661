"""The ConvNet of the paper, with variable width, depth, activation, norm and pooling."""

from __future__ import annotations

from torch import nn

from condense.config.network import Network
from condense.models.layers import ACTIVATIONS, NORMS, POOLINGS, Shape


def convnet(settings: Network, shape: Shape) -> nn.Sequential:
    """[conv 3×3 → norm → activation → 2×2 pooling] × depth (Gidaris & Komodakis 2018)."""
    channels, height, _ = shape
    blocks: list[nn.Module] = []
    for block in range(settings.depth_for(shape)):
        # As in the paper, 28×28 images are padded to 32×32, by the first convolution.
        padding = 3 if block == 0 and height == 28 else 1
        blocks.append(nn.Conv2d(channels, settings.width, 3, padding=padding))
        blocks += NORMS[settings.norm](settings.width)
        blocks.append(ACTIVATIONS[settings.activation]())
        blocks += POOLINGS[settings.pooling]()
        channels = settings.width
    return nn.Sequential(*blocks, nn.Flatten())
