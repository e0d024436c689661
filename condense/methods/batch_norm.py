"""Batch norm in gradient matching: its statistics are updated once with real images, then frozen.

Matching is done class by class, and the images of one class are not a sample of the whole dataset.

As in the authors' code, one forward pass of real images of all classes updates the statistics with
momentum 0.1. The statistics of a new network therefore stay near mean 0 and variance 1, and the
network behaves almost as without normalisation; the statistics of a trained network are mostly
those of the synthetic images. Statistics of real images only were tried and are worse
(`docs/choices.md`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condense.data.image_data import ImageData
from condense.methods.real_batches import augmented, real_rows
from condense.training.chunking import has_batch_norm
from condense.training.threads import shared_operations

IMAGES = 16
"""Real images per class for the update of the running statistics."""


def calibrate(network: nn.Module, data: ImageData, draws: torch.Generator) -> None:
    """Update and freeze batch norm with real images; without batch norm nothing is sampled."""
    if has_batch_norm(network):
        images = augmented(data, real_rows(data, IMAGES, draws))
        with shared_operations():
            freeze_batch_norm(network, torch.cat(list(images)))


@torch.no_grad()
def freeze_batch_norm(network: nn.Module, images: Tensor) -> None:
    """Update the running statistics of batch norm once with `images`, then freeze them."""
    network.train()
    network(images)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
