"""Storage of images as pixels, 8 bits per number: smaller, and with less colour resolution."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from condense.data.image_tensors import resize
from condense.errors import UserError
from condense.storage.codecs import Codec, Shape
from condense.storage.quantise import Quantised, quantise
from condense.storage.ycbcr import YCBCR_STD, from_ycbcr, to_ycbcr


class PixelCodec(Codec):
    """A codec whose planes are pictures, stored with 8 bits per number."""

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
        super().__init__(shape, mean, std)
        _, height, width = shape
        if factor > min(height, width):
            raise UserError(f"images of {height}×{width} cannot be made {factor} times smaller")
        self.factor = factor
        self.size = height // factor, width // factor

    @property
    @abstractmethod
    def pixel_range(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each plane, black and white in its units, [channels, 1, 1] each."""

    @property
    def bytes_per_image(self) -> int:
        """One byte per number."""
        return sum(map(math.prod, self.planes))

    @property
    def row_tensors(self) -> tuple[str, ...]:
        """The levels."""
        return tuple(f"plane{number}" for number in range(len(self.planes)))

    def pack(self, planes: Sequence[Tensor]) -> dict[str, Tensor]:
        """The levels and the range of each plane."""
        named = {}
        for number, (plane, limits) in enumerate(zip(planes, self.pixel_range, strict=True)):
            rounded = quantise(plane.cpu(), *limits)
            named[f"plane{number}"] = rounded.levels
            named[f"plane{number}.low"] = rounded.low
            named[f"plane{number}.high"] = rounded.high
        return named

    def metadata(self) -> dict[str, str]:
        """Storage, shape and factor."""
        return {**super().metadata(), "factor": str(self.factor)}

    def unpack(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """The values of the levels."""
        planes = []
        for number, expected in enumerate(self.planes):
            levels = tensors[f"plane{number}"]
            if levels.dtype != torch.uint8 or tuple(levels.shape[1:]) != expected:
                raise ValueError(f"plane {number} is {levels.dtype} {list(levels.shape)}")
            low, high = (tensors[f"plane{number}.{end}"] for end in ("low", "high"))
            for limit in (low, high):
                if limit.dtype != torch.float32 or limit.shape != (expected[0], 1, 1):
                    raise ValueError(f"the range of plane {number} is {list(limit.shape)}")
            if not (low.isfinite().all() and high.isfinite().all() and (low < high).all()):
                raise ValueError(f"the range of plane {number} is not finite and ascending")
            planes.append(Quantised(levels, low, high).values())
        if len({len(plane) for plane in planes}) != 1:
            raise ValueError("the planes have different numbers of images")
        return planes


class Pixels(PixelCodec):
    """RGB or grey pixels, decoded by bilinear interpolation."""

    name = "pixels"

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
        return [resize(images, self.size)]

    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """The plane, enlarged."""
        return enlarge(planes[0], self.shape[1:])


class YCbCr420(PixelCodec):
    """Luma, and chroma at half the resolution in height and width (4:2:0, as in JPEG)."""

    name = "ycbcr420"

    @property
    def planes(self) -> tuple[Shape, ...]:
        """Luma with one channel; chroma with two."""
        height, width = self.size
        return (1, height, width), (2, math.ceil(height / 2), math.ceil(width / 2))

    @property
    def pixel_range(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """Luma from 0 to 1, chroma from −0.5 to 0.5, in units of `YCBCR_STD`."""
        like = self.std  # float32, whatever the default dtype is
        low, high = like.new_zeros(1, 1, 1), like.new_ones(1, 1, 1) / YCBCR_STD
        half = like.new_full((2, 1, 1), 0.5 / YCBCR_STD)
        return (low, high), (-half, half)

    def encode(self, images: Tensor) -> list[Tensor]:
        """Luma and chroma, made smaller."""
        ycbcr = to_ycbcr(images * self.std.to(images) + self.mean.to(images))
        luma, chroma = ((height, width) for _, height, width in self.planes)
        return [resize(ycbcr[:, :1], luma), resize(ycbcr[:, 1:], chroma)]

    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """Both planes, enlarged, as normalised RGB."""
        pixels = from_ycbcr(torch.cat([enlarge(plane, self.shape[1:]) for plane in planes], 1))
        return (pixels - self.mean.to(pixels)) / self.std.to(pixels)


def enlarge(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Images [n, c, h, w] resized to a larger height and width; bilinear."""
    if tuple(images.shape[2:]) == tuple(size):
        return images
    return interpolate(images, size, mode="bilinear", align_corners=False)
