"""RGB to luma and chroma (YCbCr), and back."""

from __future__ import annotations

import torch
from torch import Tensor

from condense.system.plain_torch import plain_torch

with plain_torch():  # this module may be imported first where gradients are off
    YCBCR = torch.tensor(
        [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
    )
    RGB = torch.linalg.inv(YCBCR)
"""RGB to YCbCr, with chroma around 0 (JFIF, ITU-T T.871), and back."""

YCBCR_STD = 0.25
"""Unit of luma and chroma, where white is 1: about the standard deviation of natural images."""


def to_ycbcr(rgb: Tensor) -> Tensor:
    """Luma and chroma, in units of `YCBCR_STD`, of images [n, 3, h, w]; linear."""
    return torch.einsum("oc,nchw->nohw", YCBCR.to(rgb), rgb) / YCBCR_STD


def from_ycbcr(ycbcr: Tensor) -> Tensor:
    """The inverse of `to_ycbcr`."""
    return torch.einsum("oc,nchw->nohw", RGB.to(ycbcr), ycbcr * YCBCR_STD)
