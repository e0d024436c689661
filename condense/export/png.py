"""Images as PNG files have them: 8 bits per number."""

from __future__ import annotations

from PIL import Image

from condense.condensed_set import CondensedSet
from condense.pictures import as_picture


def png_images(condensed: CondensedSet) -> list[Image.Image]:
    """The images, rounded, and cut off at black and white."""
    return [as_picture(image) for image in condensed.images]


def clipped(condensed: CondensedSet) -> float:
    """The fraction of numbers below black or above white, which are cut off."""
    return float(((condensed.images < 0) | (condensed.images > 1)).float().mean())
