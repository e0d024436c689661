"""ω: drawing it and applying it (§3.2 and §4.4 of the paper).

A draw names one operation for each group of images and holds uniform random numbers; an operation
is a pure, differentiable, vectorised function of images and these numbers. In a Siamese draw all
the images of a group share one row of numbers, and the same draw serves the real and the synthetic
images of a class; in an independent draw each image has a row of its own.

All operations act on normalised images, so that the zeros they fill in are the mean colour.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.errors import UserError, unknown

Operation = Callable[[Tensor, Tensor], Tensor]
"""(images [n, c, h, w], numbers [n or 1, NUMBERS] uniform in [0, 1)) -> images."""

NUMBERS = 3
"""Random numbers that an operation may use for one image."""


def color(images: Tensor, numbers: Tensor) -> Tensor:
    """Brightness ± 0.5, then saturation × [0, 2], then contrast × [0.5, 1.5].

    Saturation leaves the mean as it is, and brightness adds to it, so that all three together are
    one weighted sum of the image, its grey version and its mean.
    """
    brightness, saturation, contrast = numbers[:, :, None, None, None].unbind(1)
    brightness, saturation, contrast = brightness - 0.5, 2 * saturation, contrast + 0.5
    grey = images.mean(1, keepdim=True)
    mean = grey.mean((2, 3), keepdim=True)
    rest = torch.addcmul(brightness + (1 - contrast) * mean, contrast * (1 - saturation), grey)
    return torch.addcmul(rest, contrast * saturation, images)


def crop(images: Tensor, numbers: Tensor) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side on each axis; zeros come in."""
    n, channels, height, width = images.shape
    across, down = int(0.125 * width + 0.5), int(0.125 * height + 0.5)
    padded = F.pad(images, (across, across, down, down))
    columns = _window(width, across, numbers[:, 0])
    rows = _window(height, down, numbers[:, 1])
    pixels = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).flatten(1)
    pixels = pixels[:, None].expand(n, channels, -1)
    return padded.flatten(2).gather(2, pixels).view_as(images)


def cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """Zero a square of half the side around a uniform centre."""
    height, width = images.shape[2:]
    rows = _span(height, numbers[:, 0])[:, None, :, None]
    columns = _span(width, numbers[:, 1])[:, None, None, :]
    return images * ~(rows & columns)


def flip(images: Tensor, numbers: Tensor) -> Tensor:
    """Mirror left to right with probability one half."""
    return torch.where(numbers[:, 0, None, None, None] < 0.5, images.flip(3), images)


def scale(images: Tensor, numbers: Tensor) -> Tensor:
    """Scale each axis by a factor of its own in [1/1.2, 1.2], bilinear."""
    across, down = (numbers[:, :2] * (1.2 - 1 / 1.2) + 1 / 1.2)[..., None, None].unbind(1)
    x, y = _centres(images)
    return _sample(images, across * x, down * y)


def rotate(images: Tensor, numbers: Tensor) -> Tensor:
    """Rotate by up to 15 degrees either way, bilinear."""
    angle = (2 * numbers[:, :1, None] - 1) * math.radians(15)
    cosine, sine = angle.cos(), angle.sin()
    x, y = _centres(images)
    return _sample(images, cosine * x - sine * y, sine * x + cosine * y)


OPERATIONS: dict[str, Operation] = {
    "color": color,
    "crop": crop,
    "cutout": cutout,
    "flip": flip,
    "scale": scale,
    "rotate": rotate,
}


def default_strategy(mirror: bool) -> tuple[str, ...]:
    """All six operations; without flip where a mirrored image is another sign, as with digits."""
    return tuple(name for name in OPERATIONS if mirror or name != "flip")


def check_strategy(strategy: tuple[str, ...]) -> None:
    """Check that there is an operation to draw, and that each is known.

    Raises:
        UserError: where that is not so.
    """
    if not strategy:
        raise UserError(f"an augmentation strategy names one or more of: {', '.join(OPERATIONS)}")
    for name in strategy:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, OPERATIONS)


@dataclass(frozen=True)
class Omega:
    """One draw of ω for `len(operations)` groups of images."""

    operations: tuple[str, ...]
    numbers: Tensor
    """Uniform in [0, 1), [groups, images or 1, NUMBERS]; 1 where a group shares its draw."""

    def __getitem__(self, groups: slice) -> Omega:
        """The draw for some of the groups."""
        return Omega(self.operations[groups], self.numbers[groups])

    def apply(self, groups: Sequence[Tensor] | Tensor) -> list[Tensor]:
        """A_ω of the images [n, c, h, w] of each group; differentiable in them."""
        numbers = self.numbers.to(groups[0].device, groups[0].dtype)
        return [
            OPERATIONS[name](images, row[: len(images)])
            for name, images, row in zip(self.operations, groups, numbers, strict=True)
        ]


def draw(
    strategy: tuple[str, ...], generator: torch.Generator, *, groups: int = 1, images: int = 1
) -> Omega:
    """Draw one operation for each group and numbers for `images` images of it (1: shared)."""
    chosen = torch.randint(len(strategy), (groups,), generator=generator)
    numbers = torch.rand(groups, images, NUMBERS, generator=generator)
    return Omega(tuple(strategy[index] for index in chosen.tolist()), numbers)


def augment_batch(
    images: Tensor, strategy: tuple[str, ...], generator: torch.Generator, *, shared: bool = False
) -> Tensor:
    """A of `images` [n, c, h, w]: one operation for the batch, numbers for each image or shared."""
    return draw(strategy, generator, images=1 if shared else len(images)).apply([images])[0]


def augment_each(
    batches: Tensor,
    strategy: tuple[str, ...],
    generators: Sequence[torch.Generator],
    *,
    shared: bool = False,
) -> Tensor:
    """`augment_batch` of each of `batches` [m, n, c, h, w] with a generator of its own.

    An operation is called once for all the batches that drew it.
    """
    count = batches.shape[1]
    drawn = [draw(strategy, own, images=1 if shared else count) for own in generators]
    numbers = torch.cat([one.numbers for one in drawn]).to(batches.device, batches.dtype)
    numbers = numbers.expand(-1, count, -1)
    out = list(batches)
    for name in dict.fromkeys(strategy):
        mine = [index for index, one in enumerate(drawn) if one.operations == (name,)]
        if not mine:
            continue
        images = torch.cat([batches[index] for index in mine])
        made = OPERATIONS[name](images, torch.cat([numbers[index] for index in mine]))
        for index, batch in zip(mine, made.split(count), strict=True):
            out[index] = batch
    return torch.stack(out)


def _centres(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of the pixels, x [w] and y [h, 1], in an image that reaches from −1 to 1 on both axes."""
    height, width = (
        (2 * torch.arange(side, device=images.device) + 1).to(images.dtype) / side - 1
        for side in images.shape[2:]
    )
    return width, height[:, None]


def _sample(images: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Bilinear at positions [n or 1, h, w], each to be broadcast; zeros outside."""
    grid = torch.stack(torch.broadcast_tensors(x, y), -1)
    grid = grid.expand(len(images), -1, -1, -1)
    if images.is_cuda and torch.are_deterministic_algorithms_enabled():
        return sample_by_gathering(images, grid)
    return F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def sample_by_gathering(images: Tensor, grid: Tensor) -> Tensor:
    """`F.grid_sample`, bilinear with zeros outside, whose gradient is the same bits in every run.

    PyTorch's own adds gradients up in whatever order a GPU's threads come.

    Args:
        images: [n, c, h, w].
        grid: [n, h, w, 2], positions x and y as `F.grid_sample` takes them with
            `align_corners=False`.
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
    """Positions [n, side] in a side that is padded by `reach` at both ends."""
    first = (numbers * (2 * reach + 1)).long()
    return first[:, None] + torch.arange(side, device=numbers.device)


def _span(side: int, numbers: Tensor) -> Tensor:
    """The half of `side` pixels around a centre, as a mask [n, side]; cut off at the border."""
    length = int(side * 0.5 + 0.5)
    centre = (numbers * (side + 1 - length % 2)).floor()
    first = (centre - length // 2)[:, None]
    pixels = torch.arange(side, device=numbers.device)
    return (pixels >= first) & (pixels < first + length)
