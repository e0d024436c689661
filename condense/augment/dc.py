"""The augmentation with which DC's authors train new networks on condensed sets of MNIST.

One of three operations for each image, with the parameters of VICO-UoE/DatasetCondensation
(`utils.py`, strategy `crop_scale_rotate`). Unlike the operations of DSA they are not
differentiable, and serve evaluation only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

PADDING = 4
"""Pixels on each side before the random crop."""
SCALES = (0.8, 1.2)
"""Range of the factors of height and width."""
DEGREES = 45
"""The angle of rotation is a whole number in [-45, 45)."""


def augment_batches(batches: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """`augment` for each of `batches` [m, n, c, h, w], each with its own generator."""
    return torch.stack([augment(*one) for one in zip(batches, generators, strict=True)])


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop, scale or rotate each of the normalised `images` [n, c, h, w]."""
    chosen = torch.randint(3, (len(images),), generator=generator)
    numbers = torch.rand(len(images), 2, generator=generator)
    fill = images.mean((0, 2, 3))
    out = images.clone()
    for row, (operation, pair) in enumerate(zip(chosen.tolist(), numbers.tolist(), strict=True)):
        out[row] = (crop, scale, rotate)[operation](images[row], fill, pair)
    return out


def crop(image: Tensor, fill: Tensor, numbers: Sequence[float]) -> Tensor:
    """A window of the image [c, h, w] with a border in the mean colour `fill` [c].

    As published, the last position on each axis is never chosen.
    """
    height, width = image.shape[1:]
    padded = fill[:, None, None].repeat(1, height + 2 * PADDING, width + 2 * PADDING)
    padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = image
    top, left = (int(number * 2 * PADDING) for number in numbers)
    return padded[:, top : top + height, left : left + width]


def scale(image: Tensor, fill: Tensor, numbers: Sequence[float]) -> Tensor:
    """Another height and width for the image [c, h, w], nearest neighbour, zeros around it."""
    smallest, largest = SCALES
    factors = [smallest + number * (largest - smallest) for number in numbers]
    size = [int(factor * side) for factor, side in zip(factors, image.shape[1:], strict=True)]
    scaled = F.interpolate(image[None], size)[0]
    canvas = image.new_zeros(len(image), *(max(*size, *image.shape[1:]),) * 2)
    _centre(canvas, size).copy_(scaled)
    return _centre(canvas, image.shape[1:])


def rotate(image: Tensor, fill: Tensor, numbers: Sequence[float]) -> Tensor:
    """The image [c, h, w] turned about its centre, cubic splines, the mean of `fill` around it."""
    # Imported here because it takes a while, and only this operation needs it.
    from scipy import ndimage

    degrees, around = int(numbers[0] * 2 * DEGREES) - DEGREES, float(fill.mean())
    turned = torch.as_tensor(
        ndimage.rotate(image.cpu().numpy(), degrees, (-2, -1), cval=around)
    ).to(image)
    # A long narrow image becomes shorter.
    missing = [max(0, want - have) for want, have in zip(image.shape, turned.shape, strict=True)]
    border = [part for side in missing[:0:-1] for part in (side // 2, side - side // 2)]
    return _centre(F.pad(turned, border, value=around), image.shape[1:])


def _centre(image: Tensor, size: Sequence[int]) -> Tensor:
    """The view of the middle [c, *size] of an image that is at least as large."""
    top, left = ((have - want) // 2 for have, want in zip(image.shape[1:], size, strict=True))
    return image[:, top : top + size[0], left : left + size[1]]
