"""Settings of a network."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from condense.errors import UserError
from condense.validation import at_least, at_most, check_values

LEAST_DEPTH = 3
"""Number of blocks for small images, as published."""
WIDEST, DEEPEST = 65536, 64
"""Maximum number of filters and of blocks; the size of the network is limited by memory."""

WITHOUT_NORM = ("mlp", "fc1", "lenet", "alexnet")
"""Architectures without normalisation."""


@dataclass(frozen=True)
class Network:
    """A network; architecture and precision apply to all, norm to convnet, vgg11 and resnet18, the
    rest to the ConvNet only, width also to fc1."""

    architecture: str = "convnet"
    """convnet, mlp (two hidden layers of 128 units), fc1 (one hidden layer), lenet, alexnet, vgg11
    or resnet18."""
    width: int = 128
    """Filters per block; units of the hidden layer of fc1."""
    depth: int | None = None
    """Number of blocks; each pooling halves the image size. None: by the image size, 3 up to 45
    pixels, 4 for 64, 5 for 128, 6 for 224."""
    activation: Literal["relu", "leakyrelu", "sigmoid"] = "relu"
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance"
    """group: four groups. layer: a scale and a shift for each element."""
    pooling: Literal["avg", "max", "none"] = "avg"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions and matrix products. bfloat16 is less exact, and faster if the processor
    has instructions for it; weights, gradients and distances are always float32."""

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "width", "depth")
        at_most(WIDEST, self, "width")
        at_most(DEEPEST, self, "depth")
        if self.architecture in WITHOUT_NORM and self.norm not in ("instance", "none"):
            raise UserError(
                f"{self.architecture} has no normalisation: norm {self.norm} is for convnet, vgg11 "
                "and resnet18"
            )
        if self.norm == "group" and self.architecture == "convnet" and self.width % 4:
            raise UserError(
                f"width must be a multiple of 4 for group normalisation, not {self.width}"
            )

    def depth_for(self, shape: tuple[int, int, int]) -> int:
        """Number of blocks for images of this shape: channels, height, width.

        Without a given depth the last feature maps have two to five pixels on a side, for images
        from 32 pixels; for powers of two four, as in the literature (Cazenavette et al. 2022).
        """
        return self.depth or max(LEAST_DEPTH, round(math.log2(min(shape[1:]))) - 2)

    def for_images(self, shape: tuple[int, int, int]) -> Network:
        """This network with the depth for images of this shape."""
        return replace(self, depth=self.depth_for(shape))

    def __str__(self) -> str:
        convnet = f"w{self.width}-{self.activation}-{self.norm}-{self.pooling}"
        if self.depth:
            convnet = f"d{self.depth}-{convnet}"
        norm = "" if self.norm == "instance" else f"-{self.norm}"
        others = {
            "convnet": convnet,
            "fc1": f"fc1-w{self.width}",
            **{name: f"{name}{norm}" for name in ("vgg11", "resnet18")},
        }
        name = others.get(self.architecture, self.architecture)
        return name if self.precision == "float32" else f"{name}-{self.precision}"
