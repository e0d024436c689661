"""The codecs by name: images as a few planes of numbers, with a differentiable decoder.

A plane is a tensor [n, channels, height, width] with one number per pixel of the plane. Planes are
normalised like the images, so that learning rates mean the same in every codec.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from condense.errors import UserError, unknown

Shape = tuple[int, int, int]
"""Channels, height and width."""

YCBCR = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]
)
"""RGB to YCbCr, with chroma around 0 (JFIF, ITU-T T.871)."""

CHROMA_STD = 0.25
"""Unit of a YCbCr plane, in pixels from 0 to 1: about the standard deviation of natural images."""


class Codec(ABC):
    """Converts normalised images of one shape to planes and back."""

    def __init__(
        self, shape: Shape, mean: Sequence[float], std: Sequence[float], factor: int = 1
    ) -> None:
        """Initialise.

        Args:
            shape: of the decoded images.
            mean, std: per channel, their normalisation.
            factor: divides the height and the width (IDC, Kim et al. 2022).

        Raises:
            UserError: the images are smaller than the factor.
            ValueError: mean and std are not one number per channel.
        """
        channels, height, width = shape
        if len(mean) != channels or len(std) != channels:
            raise ValueError("mean and std are not one number per channel")
        if factor > min(height, width):
            raise UserError(f"images of {height}×{width} cannot be made {factor} times smaller")
        self.shape, self.factor = shape, factor
        self.size = height // factor, width // factor
        self.mean, self.std = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))

    @property
    @abstractmethod
    def planes(self) -> tuple[Shape, ...]:
        """The shape of each plane of one image."""

    @property
    @abstractmethod
    def pixel_range(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each plane, black and white in its units, [channels, 1, 1] each."""

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """The planes of normalised images [n, c, h, w]."""

    @abstractmethod
    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """The normalised images [n, c, h, w]; differentiable in the planes."""

    @property
    def numbers(self) -> int:
        """Numbers per image."""
        return sum(map(math.prod, self.planes))


class Pixels(Codec):
    """RGB or grey pixels, decoded by bilinear interpolation."""

    @property
    def planes(self) -> tuple[Shape, ...]:
        """One plane with the channels of the images."""
        return ((self.shape[0], *self.size),)

    @property
    def pixel_range(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Black and white, normalised."""
        return ((-self.mean / self.std, (1 - self.mean) / self.std),)

    def encode(self, images: Tensor) -> list[Tensor]:
        """The images, made smaller."""
        return [shrink(images, self.size)]

    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """The plane, enlarged."""
        return enlarge(planes[0], self.shape[1:])


class YCbCr420(Codec):
    """Luma, and chroma at half the resolution in height and width (4:2:0, as in JPEG)."""

    @property
    def planes(self) -> tuple[Shape, ...]:
        """Luma with one channel; chroma with two."""
        height, width = self.size
        return (1, height, width), (2, math.ceil(height / 2), math.ceil(width / 2))

    @property
    def pixel_range(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Luma from 0 to 1, chroma from −0.5 to 0.5, in units of `CHROMA_STD`."""
        low, high = torch.zeros(1, 1, 1), torch.ones(1, 1, 1) / CHROMA_STD
        half = torch.full((2, 1, 1), 0.5 / CHROMA_STD)
        return (low, high), (-half, half)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Luma and chroma, made smaller."""
        pixels = images * self.std.to(images) + self.mean.to(images)
        ycbcr = torch.einsum("oc,nchw->nohw", YCBCR.to(images), pixels) / CHROMA_STD
        (_, *luma), (_, *chroma) = self.planes
        return [shrink(ycbcr[:, :1], tuple(luma)), shrink(ycbcr[:, 1:], tuple(chroma))]

    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """Both planes, enlarged, as normalised RGB."""
        ycbcr = torch.cat([enlarge(plane, self.shape[1:]) for plane in planes], 1) * CHROMA_STD
        pixels = torch.einsum("oc,nchw->nohw", torch.linalg.inv(YCBCR).to(ycbcr), ycbcr)
        normalised: Tensor = (pixels - self.mean.to(pixels)) / self.std.to(pixels)
        return normalised


def shrink(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images [n, c, h, w] resized to a smaller height and width; bilinear with antialiasing."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return interpolate(images, size, mode="bilinear", antialias=True)


def enlarge(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images [n, c, h, w] resized to a larger height and width; bilinear."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return interpolate(images, size, mode="bilinear", align_corners=False)


CODECS: dict[str, type[Codec]] = {"pixels": Pixels, "ycbcr420": YCbCr420}


def codec(
    name: str, shape: Shape, mean: Sequence[float], std: Sequence[float], factor: int = 1
) -> Codec:
    """The codec with this name; for grey images always `pixels`.

    Raises:
        UserError: there is no such codec, or the images are smaller than the factor.
    """
    if name not in CODECS:
        raise unknown("storage", name, CODECS)
    kind = Pixels if shape[0] == 1 else CODECS[name]
    return kind(shape, mean, std, factor)
