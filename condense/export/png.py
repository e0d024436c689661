"""Images as PNG files have them: 8 bits per number."""

from __future__ import annotations

import torch
from PIL import Image

from condense.condensed_set import CondensedSet


def png_images(condensed: CondensedSet) -> list[Image.Image]:
    """The images, rounded, and cut off at black and white."""
    from torchvision.transforms.functional import to_pil_image

    pixels = (condensed.images.clamp(0, 1) * 255).round().to(torch.uint8)
    return [to_pil_image(image) for image in pixels]


def clipped(condensed: CondensedSet) -> float:
    """The fraction of numbers below black or above white, which are cut off."""
    return float(((condensed.images < 0) | (condensed.images > 1)).float().mean())
