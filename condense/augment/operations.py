"""The operations of differentiable augmentation (paper, §3.2 and §4.4).

Each is a pure, differentiable, vectorised function of normalised images and uniform random numbers.
Padding with zeros is padding with the mean colour.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Apply = Callable[[Tensor, Tensor], Tensor]
"""(images [n, c, h, w], numbers [n or 1, NUMBERS] uniform in [0, 1)) -> images."""

NUMBERS = 3
"""Random numbers per image that an operation may use."""


def color(images: Tensor, numbers: Tensor) -> Tensor:
    """Brightness ± 0.5, then saturation × [0, 2], then contrast × [0.5, 1.5].

    Saturation does not change the mean, and brightness adds to it, so all three together are one
    weighted sum of the image, its grey version and its mean.
    """
    brightness, saturation, contrast = numbers[:, :, None, None, None].unbind(1)
    brightness, saturation, contrast = brightness - 0.5, 2 * saturation, contrast + 0.5
    grey = images.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    rest = torch.addcmul(brightness + (1 - contrast) * mean, contrast * (1 - saturation), grey)
    return torch.addcmul(rest, contrast * saturation, images)


def crop(images: Tensor, numbers: Tensor) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side on each axis, with zero padding."""
    n, channels, height, width = images.shape
    across, down = int(0.125 * width + 0.5), int(0.125 * height + 0.5)
    padded = F.pad(images, (across, across, down, down))
    columns = _window(width, across, numbers[:, 0])
    rows = _window(height, down, numbers[:, 1])
    pixels = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).flatten(1)
    pixels = pixels[:, None].expand(n, channels, -1)
    return padded.flatten(2).gather(2, pixels).view_as(images)


def cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """Set a square of half the side, with a uniform random centre, to zero."""
    height, width = images.shape[2:]
    rows = _span(height, numbers[:, 0])[:, None, :, None]
    columns = _span(width, numbers[:, 1])[:, None, None, :]
    return images * ~(rows & columns)


def flip(images: Tensor, numbers: Tensor) -> Tensor:
    """Horizontal flip with probability 0.5."""
    return torch.where(numbers[:, 0, None, None, None] < 0.5, images.flip(3), images)


def scale(images: Tensor, numbers: Tensor) -> Tensor:
    """Scale each axis by its own factor in [1/1.2, 1.2], bilinear."""
    across, down = (numbers[:, :2] * (1.2 - 1 / 1.2) + 1 / 1.2)[..., None, None].unbind(1)
    x, y = _centres(images)
    return _sample(images, across * x, down * y)


def rotate(images: Tensor, numbers: Tensor) -> Tensor:
    """Rotate by −15 to 15 degrees, bilinear."""
    angle = (2 * numbers[:, :1, None] - 1) * math.radians(15)
    cosine, sine = angle.cos(), angle.sin()
    x, y = _centres(images)
    return _sample(images, cosine * x - sine * y, sine * x + cosine * y)


OPERATIONS: dict[str, Apply] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}


def _centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres x [w] and y [h, 1]; the image extends from −1 to 1 on both axes."""
    height, width = (
        (2 * torch.arange(side, device=images.device) + 1).to(images.dtype) / side - 1
        for side in images.shape[2:]
    )
    return width, height[:, None]


def _sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear sampling at x and y, each broadcast to [n or 1, h, w]; zeros outside."""
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)
    grid = grid.expand(len(images), -1, -1, -1)
    if images.is_cuda and torch.are_deterministic_algorithms_enabled():
        return sample_by_gathering(images, grid)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def sample_by_gathering(images: Tensor, grid: Tensor) -> Tensor:
    """`F.grid_sample`, bilinear with zeros outside, with a deterministic gradient.

    PyTorch's version adds gradients in the order of the GPU threads, which varies.

    Args:
        images: [n, c, h, w].
        grid: [n, h, w, 2], positions x and y as for `F.grid_sample` with `align_corners=False`.
    """
    n, channels, height, width = images.shape
    x = ((grid[..., 0] + 1) * width - 1) / 2
    y = ((grid[..., 1] + 1) * height - 1) / 2
    total = torch.zeros_like(images)
    for right, below in itertools.product((0, 1), (0, 1)):
        column, row = x.floor() + right, y.floor() + below
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        weight = (1 - (x - column).abs()) * (1 - (y - row).abs()) * inside
        pixels = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        pixels = pixels.long().flatten(1)[:, None].expand(n, channels, -1)
        found = images.flatten(2).gather(2, pixels).view_as(images)
        total = total + found * weight[:, None]
    return total


def _window(side: int, reach: int, numbers: Tensor) -> Tensor:
    """Positions [n, side] in a side padded by `reach` at both ends."""
    first = (numbers * (2 * reach + 1)).long()
    return first[:, None] + torch.arange(side, device=numbers.device)


def _span(side: int, numbers: Tensor) -> Tensor:
    """Mask [n, side] of half of the pixels around a centre; truncated at the border."""
    length = int(side * 0.5 + 0.5)
    centre = (numbers * (side + 1 - length % 2)).floor()
    first = (centre - length // 2)[:, None]
    pixels = torch.arange(side, device=numbers.device)
    return (pixels >= first) & (pixels < first + length)
