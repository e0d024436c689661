"""Storage as coefficients of a discrete cosine transform with a few bits each, as in JPEG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from condense.storage.bit_allocation import (
    allocate_bits,
    bits_needed,
    level_numbers,
    level_values,
)
from condense.storage.bits import pack, packed_size, unpack
from condense.storage.codecs import Codec, Shape
from condense.storage.coefficients import Coefficients, wide_enough
from condense.storage.ycbcr import from_ycbcr, to_ycbcr

LOST = 0.1
"""Squared error of the stored images as a share of their variance, unless a size is given."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Statistics of the transformed training images.

    Attributes:
        mean, variance: of each coefficient, float64 [c·h·w].
    """

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, batches: Iterable[Tensor], std: Sequence[float]) -> Spectrum:
        """The statistics of batches of normalised images [n, c, h, w]; at least one image.

        They are computed on the CPU: some devices have no float64, and the codec of the same images
        is the same on every device.

        Args:
            batches: of images.
            std: per channel, their normalisation.
        """
        scale, count = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), 0
        first = total = squares = torch.zeros(())
        for batch in batches:
            found = _transform(batch.cpu(), scale).flatten(1).double()
            first = first if count else found[0]  # constant coefficients then have a variance of 0
            total = total + (found - first).sum(0)
            squares = squares + (found - first).square().sum(0)
            count += len(batch)
        mean = total / count
        return cls(first + mean, (squares / count - mean.square()).clamp_min(0))


class Dct(Codec):
    """Coefficients of the two-dimensional cosine transform of luma and chroma, or of grey.

    The bits of an image are divided among its coefficients by their variance and mean over the
    training images. The one plane has a number per stored coefficient, [n, k, 1, 1]: mean 0 and
    standard deviation 1 over the training images. `decode` rounds to the stored levels; its
    gradient is that of the decoder without rounding (straight-through, Bengio et al. 2013).
    """

    name = "dct"

    def __init__(
        self, shape: Shape, mean: Sequence[float], std: Sequence[float], kept: Coefficients
    ) -> None:
        """Initialise.

        Args:
            shape: of the images.
            mean, std: per channel, their normalisation.
            kept: the stored coefficients.
        """
        super().__init__(shape, mean, std)
        self.kept = kept

    @classmethod
    def fit(
        cls,
        spectrum: Spectrum,
        shape: Shape,
        mean: Sequence[float],
        std: Sequence[float],
        image_bytes: int | None = None,
    ) -> Dct:
        """The codec for images with these statistics.

        Args:
            spectrum: of the training images.
            shape: of an image.
            mean, std: per channel, their normalisation.
            image_bytes: bytes of a stored image; None: as few as lose at most `LOST` of the
                variance.
        """
        means, deviations = spectrum.mean, spectrum.variance.sqrt()
        variances = wide_enough(deviations, means).square()
        if image_bytes is None:
            error = LOST * float(spectrum.variance.sum())
            image_bytes = -(-bits_needed(variances, means, error) // 8)
        bits = allocate_bits(variances, means, 8 * image_bytes)
        if not bits.any():  # all images are the same
            bits[0] = 1
        return cls(shape, mean, std, Coefficients.of(bits, means, deviations))

    @property
    def planes(self) -> tuple[Shape, ...]:
        """One number per stored coefficient."""
        return ((len(self.kept.index), 1, 1),)

    @property
    def bytes_per_image(self) -> int:
        """The bits of all coefficients, rounded up."""
        return packed_size(self.kept.bits)

    @property
    def table_bytes(self) -> int:
        """Which coefficients are stored, with their mean and standard deviation."""
        return sum(tensor.nbytes for tensor in self.kept.tensors().values())

    def smaller(self, image_bytes: int) -> Dct:
        """The codec with fewer bits for the same coefficients, which lose at most `LOST`."""
        variances = self.kept.std.double().square()
        means, variance = self.kept.mean, float(self.kept.variance)
        others = max(0.0, variance - float(variances.sum()))
        least = bits_needed(variances, means, LOST * variance, others)
        most = max(8 * image_bytes, 8 * -(-least // 8))
        if most >= int(self.kept.bits.sum()):
            return self
        kept = self.kept.with_bits(allocate_bits(variances, means, most))
        return Dct(self.shape, *self.normalisation, kept)

    @property
    def row_tensors(self) -> tuple[str, ...]:
        """The rounded coefficients."""
        return ("coefficients",)

    def encode(self, images: Tensor) -> list[Tensor]:
        """The stored coefficients, not rounded."""
        mean, std = self.kept.mean.to(images), self.kept.std.to(images)
        found = _transform(images, self.std).flatten(1)[:, self.kept.index.to(images.device)]
        return [((found - mean) / std)[:, :, None, None]]

    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """The inverse transform of the rounded coefficients."""
        (plane,) = planes
        values = plane[:, :, 0, 0]
        widths = self.kept.bits.to(values.device)
        rounded = level_values(level_numbers(values.detach(), widths), widths).to(values)
        rounded = rounded + (values - values.detach())
        mean, std = self.kept.mean.to(values), self.kept.std.to(values)
        coefficients = values.new_zeros(len(values), math.prod(self.shape)).index_copy(
            1, self.kept.index.to(values.device), rounded * std + mean
        )
        return _inverse(coefficients.view(-1, *self.shape), self.std)

    def pack(self, planes: Sequence[Tensor]) -> dict[str, Tensor]:
        """The rounded coefficients of each image in its bytes, and the table."""
        widths = self.kept.bits
        numbers = level_numbers(planes[0].detach().cpu()[:, :, 0, 0], widths)
        return {"coefficients": pack(numbers, widths), **self.kept.tensors()}

    def unpack(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """The values of the levels."""
        packed, widths = tensors["coefficients"], self.kept.bits
        if packed.dtype != torch.uint8 or packed.shape[1:] != (packed_size(widths),):
            raise ValueError(f"coefficients are {packed.dtype} {list(packed.shape)}")
        return [level_values(unpack(packed, widths), widths)[:, :, None, None]]


def _transform(images: Tensor, std: Tensor) -> Tensor:
    """The cosine transform of the luma and chroma of normalised images, or of the one channel.

    The mean is left out, so an image with all coefficients zero has the mean colour.
    """
    _, channels, height, width = images.shape
    pictures = to_ycbcr(images * std.to(images)) if channels == 3 else images
    rows, columns = (_basis(side, images.dtype, images.device) for side in (height, width))
    return rows @ pictures @ columns.T


def _inverse(coefficients: Tensor, std: Tensor) -> Tensor:
    """The normalised images with these coefficients, [n, c, h, w]."""
    _, channels, height, width = coefficients.shape
    kind = coefficients.dtype, coefficients.device
    pictures = _basis(height, *kind).T @ coefficients @ _basis(width, *kind)
    return from_ycbcr(pictures) / std.to(pictures) if channels == 3 else pictures


@lru_cache
@torch.inference_mode(False)  # it is cached, and may be used in training later
def _basis(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal cosine transform (DCT-II) of vectors of this size, [size, size]."""
    positions = torch.arange(size, dtype=torch.float64, device="cpu")
    angles = math.pi / size * (positions[None] + 0.5) * positions[:, None]
    basis = angles.cos() * math.sqrt(2 / size)
    basis[0] /= math.sqrt(2)
    return basis.to(device, dtype)
