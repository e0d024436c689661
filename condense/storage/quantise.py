"""Planes with 8 bits per number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = 255
"""The largest stored number."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """One plane of all images of a set.

    Attributes:
        levels: uint8 [n, channels, height, width].
        low, high: float32 [channels, 1, 1], the values of levels 0 and 255.
    """

    levels: Tensor
    low: Tensor
    high: Tensor

    def values(self) -> Tensor:
        """The plane, float32 [n, channels, height, width]."""
        step = (self.high - self.low) / LEVELS
        return self.levels.to(torch.float32) * step + self.low


def quantise(plane: Tensor, low: Tensor, high: Tensor) -> Quantised:
    """Round a plane to 256 equidistant levels in each channel.

    Args:
        plane: [n, channels, height, width].
        low, high: [channels, 1, 1], black and white. The range is extended to the smallest and
            largest value of the plane, as learnt images may exceed it; real pixels stay exact.
    """
    plane = plane.detach().to(torch.float32)
    low = torch.minimum(low.to(plane), plane.amin((0, 2, 3)).view(-1, 1, 1))
    high = torch.maximum(high.to(plane), plane.amax((0, 2, 3)).view(-1, 1, 1))
    step = (high - low) / LEVELS
    levels = ((plane - low) / step).round().clamp(0, LEVELS).to(torch.uint8)
    return Quantised(levels, low, high)
