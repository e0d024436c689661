"""Images as pictures of 8 bits per number.

torchvision has the same, but importing it takes as long as importing torch.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor


def as_picture(image: Tensor) -> Image.Image:
    """An image [c, h, w] in 0..1, rounded, and cut off at black and white."""
    pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu()
    return Image.fromarray(pixels.squeeze(2).contiguous().numpy())
