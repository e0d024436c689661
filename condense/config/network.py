"""Settings of a network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense.errors import UserError
from condense.validation import at_least, at_most, check_values

WIDEST, DEEPEST = 65536, 64
"""Maximum number of filters and of blocks; the size of the network is limited by memory."""


@dataclass(frozen=True)
class Network:
    """A network; architecture, norm and precision apply to all, the rest to the ConvNet only."""

    architecture: str = "convnet"
    """convnet, mlp, lenet, alexnet, vgg11 or resnet18."""
    width: int = 128
    """Filters per block."""
    depth: int = 3
    """Number of blocks; each pooling halves the image size."""
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
        if self.norm == "group" and self.width % 4:
            raise UserError(
                f"width must be a multiple of 4 for group normalisation, not {self.width}"
            )

    def __str__(self) -> str:
        convnet = f"d{self.depth}-w{self.width}-{self.activation}-{self.norm}-{self.pooling}"
        name = convnet if self.architecture == "convnet" else self.architecture
        return name if self.precision == "float32" else f"{name}-{self.precision}"
