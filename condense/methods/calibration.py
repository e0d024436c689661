"""Batch norm while images are matched: its running statistics, moved towards real images and held.

Matching goes class by class, and the images of one class are no sample of what the network sees.

As in the authors' code a forward pass of real images of all classes, at batch norm's momentum of
0.1, moves the statistics a tenth of the way. Those of a fresh network thus stay near mean 0 and
variance 1, and it is nearly one without norms; those of a trained one are mostly of the synthetic
images that it was trained on. To take them from the real images alone was tried, and is worse
(`benchmarks/README.md`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condense.data import ImageData
from condense.footprint import has_batch_norm
from condense.methods.images import real_images

IMAGES = 16
"""Real images per class that the running statistics are moved towards."""


def calibrate(network: nn.Module, data: ImageData, draws: torch.Generator) -> None:
    """Show batch norm real images, where a network has it, and hold it; else nothing is drawn."""
    if has_batch_norm(network):
        freeze_batch_norm(network, torch.cat(real_images(data, IMAGES, draws)))


@torch.no_grad()
def freeze_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Let `images` move batch norm's running statistics once, and keep these from then on."""
    network.train()
    network(images)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
