"""A generator of images from inputs and classes, as in generative teaching networks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from condense.models.build import initialise
from condense.models.layers import Shape

HIDDEN = 1024
"""Numbers in the first hidden layer."""
HIGHEST = 2.0
"""The largest absolute value of a normalised pixel."""


class Generator(nn.Module):
    """Two linear and two convolutional layers, with weight normalisation (Such et al. 2020).

    Args:
        latent_size: numbers in an input, besides the class.
        classes: number of classes.
        shape: channels, height and width of the images.
        width: filters of the last hidden layer.
        draws: for the initial weights.
    """

    def __init__(
        self, latent_size: int, classes: int, shape: Shape, width: int, draws: torch.Generator
    ) -> None:
        super().__init__()
        channels, *size = shape
        quarter = [-(-side // 4) for side in size]
        with torch.device("meta"):  # the initial weights of PyTorch are not drawn
            layers = nn.Sequential(
                nn.Linear(latent_size + classes, HIDDEN),
                nn.LeakyReLU(0.1),
                nn.Linear(HIDDEN, 2 * width * quarter[0] * quarter[1]),
                nn.LeakyReLU(0.1),
                nn.Unflatten(1, (2 * width, *quarter)),
                nn.Upsample(scale_factor=2),
                nn.Conv2d(2 * width, width, 3, padding=1),
                nn.LeakyReLU(0.1),
                nn.Upsample(size=tuple(size)),
                nn.Conv2d(width, channels, 3, padding=1),
            )
        self.layers = layers.to_empty(device="cpu")
        initialise(self.layers, draws)
        for layer in self.layers:
            if isinstance(layer, nn.Linear | nn.Conv2d):
                weight_norm(layer)

    def forward(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """Images [n, c, h, w], normalised, of inputs [n, latent_size] and one-hot classes."""
        images: Tensor = self.layers(torch.cat([inputs, classes], 1))
        return HIGHEST * images.tanh()
