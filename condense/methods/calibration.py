"""Batch norm while images are matched: statistics of real images of all classes, which then stay.

Matching goes class by class, and the images of one class are no sample of what the network sees.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condense.data import ImageData
from condense.footprint import has_batch_norm
from condense.methods.images import real_images

IMAGES = 16
"""Real images per class that the running statistics are taken from."""


def calibrate(network: nn.Module, data: ImageData, draws: torch.Generator) -> None:
    """Freeze batch norm, where a network has it, at real images; nothing is drawn where not."""
    if has_batch_norm(network):
        freeze_batch_norm(network, torch.cat(real_images(data, IMAGES, draws)))


@torch.no_grad()
def freeze_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Take batch norm's running statistics from `images` and keep them from then on."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    network.train()
    for layer in layers:
        layer.momentum = 1.0
    network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
