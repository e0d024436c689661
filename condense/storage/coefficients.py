"""Which coefficients of a transform are stored, and how: the table of a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from condense.storage.bit_allocation import MOST_BITS
from condense.storage.bits import pack, unpack
from condense.storage.codecs import Shape

STEPS_PER_OCTAVE = 8
"""A stored standard deviation is a power of 2^(1/8): at most 4.4 % from the real one, which changes
the error of an image by less than a thousandth."""

SMALLEST_EXPONENT = -16
"""log2 of the smallest standard deviation that is stored; 255 steps above it is 2^15.9."""

STEPS_PER_STD = 16
"""A stored mean is a multiple of the standard deviation divided by 16."""

LARGEST_OFFSET = 127
"""Of these multiples. A coefficient with a larger mean gets a larger standard deviation."""


@dataclass(frozen=True, eq=False)
class Coefficients:
    """The stored coefficients of an image, and their quantisers; the others are zero.

    Attributes:
        size: number of coefficients of an image, c·h·w.
        index: int64 [k], ascending, in the transformed image [c, h, w], flattened.
        bits: int64 [k], 1 to `MOST_BITS`.
        exponents: uint8 [k], the standard deviations in steps of a `STEPS_PER_OCTAVE`-th octave.
        offsets: int8 [k], the means in steps of a `STEPS_PER_STD`-th standard deviation.
        variance: float32 [1], the sum of the variances of all coefficients, stored or not.
    """

    size: int
    index: Tensor
    bits: Tensor
    exponents: Tensor
    offsets: Tensor
    variance: Tensor

    @classmethod
    def of(cls, bits: Tensor, mean: Tensor, std: Tensor) -> Coefficients:
        """The coefficients with at least one bit, with rounded statistics.

        Args:
            bits: int64 [c·h·w], of each coefficient.
            mean, std: [c·h·w], over the training images.
        """
        index = bits.nonzero()[:, 0]
        steps = STEPS_PER_OCTAVE * (wide_enough(std, mean)[index].log2() - SMALLEST_EXPONENT)
        exponents = steps.round().clamp(0, 255).to(torch.uint8)
        offsets = STEPS_PER_STD * mean[index] / _std(exponents)
        offsets = offsets.round().clamp(-LARGEST_OFFSET, LARGEST_OFFSET)
        variance = std.square().sum().to(torch.float32)[None]
        parts = (index, bits[index], exponents, offsets.to(torch.int8), variance)
        return cls(len(bits), *(part.cpu() for part in parts))

    def with_bits(self, bits: Tensor) -> Coefficients:
        """The same coefficients with other bits, int64 [k]; without those that have none."""
        some = bits > 0
        index, exponents, offsets = (
            part[some] for part in (self.index, self.exponents, self.offsets)
        )
        return replace(self, index=index, bits=bits[some], exponents=exponents, offsets=offsets)

    @property
    def std(self) -> Tensor:
        """Standard deviations, float32 [k]."""
        return _std(self.exponents)

    @property
    def mean(self) -> Tensor:
        """Means, float32 [k]."""
        return self.offsets.to(torch.float32) / STEPS_PER_STD * self.std

    def tensors(self) -> dict[str, Tensor]:
        """Named tensors for a file: one bit per coefficient, and three bytes per stored one."""
        kept = torch.zeros(1, self.size, dtype=torch.int64).index_fill(1, self.index, 1)
        return {
            "coefficients.kept": pack(kept, _one_bit(self.size))[0],
            "coefficients.bits": self.bits.to(torch.uint8),
            "coefficients.exponents": self.exponents,
            "coefficients.offsets": self.offsets,
            "coefficients.variance": self.variance,
        }

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], shape: Shape) -> Coefficients:
        """The coefficients of images of `shape` from a file.

        Raises:
            ValueError, KeyError: the content is invalid.
        """
        size = math.prod(shape)
        kept = tensors["coefficients.kept"]
        if kept.dtype != torch.uint8 or kept.shape != (-(-size // 8),):
            raise ValueError(f"kept coefficients are {kept.dtype} {list(kept.shape)}")
        index = unpack(kept[None], _one_bit(size))[0].nonzero()[:, 0]
        found = []
        for name, dtype in (
            ("bits", torch.uint8),
            ("exponents", torch.uint8),
            ("offsets", torch.int8),
        ):
            tensor = tensors[f"coefficients.{name}"]
            if tensor.dtype != dtype or tensor.shape != (len(index),) or not len(index):
                raise ValueError(f"{name} of coefficients are {tensor.dtype} {list(tensor.shape)}")
            found.append(tensor)
        bits, exponents, offsets = found
        if not ((bits >= 1) & (bits <= MOST_BITS)).all():
            raise ValueError(f"the bits of coefficients are not 1 to {MOST_BITS}")
        variance = tensors["coefficients.variance"]
        if variance.dtype != torch.float32 or variance.shape != (1,) or not variance.isfinite():
            raise ValueError(
                f"the variance of coefficients is {variance.dtype} {variance.tolist()}"
            )
        return cls(size, index, bits.to(torch.int64), exponents, offsets, variance)


def wide_enough(std: Tensor, mean: Tensor) -> Tensor:
    """The standard deviations, where necessary increased so that the means can be stored."""
    return std.maximum(STEPS_PER_STD / LARGEST_OFFSET * mean.abs())


def _one_bit(size: int) -> Tensor:
    return torch.ones(size, dtype=torch.int64)


def _std(exponents: Tensor) -> Tensor:
    return torch.exp2(exponents.to(torch.float32) / STEPS_PER_OCTAVE + SMALLEST_EXPONENT)
