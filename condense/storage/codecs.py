"""Codecs: images as a few planes of numbers, with a differentiable decoder.

A plane is a tensor [n, channels, height, width]. Its numbers have a standard deviation of about 1,
so that learning rates mean the same in every codec.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

Shape = tuple[int, int, int]
"""Channels, height and width."""


class Codec(ABC):
    """Converts normalised images of one shape to planes and back."""

    name: ClassVar[str]
    """In the settings and in files."""

    def __init__(self, shape: Shape, mean: Sequence[float], std: Sequence[float]) -> None:
        """Initialise.

        Args:
            shape: of the decoded images.
            mean, std: per channel, their normalisation.

        Raises:
            ValueError: mean and std are not one number per channel.
        """
        if len(mean) != shape[0] or len(std) != shape[0]:
            raise ValueError("mean and std are not one number per channel")
        self.shape = shape
        self.mean, self.std = (
            torch.tensor(values, dtype=torch.float32).view(-1, 1, 1) for values in (mean, std)
        )

    @property
    def normalisation(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation per channel."""
        return tuple(self.mean.flatten().tolist()), tuple(self.std.flatten().tolist())

    @property
    @abstractmethod
    def planes(self) -> tuple[Shape, ...]:
        """The shape of each plane of one image."""

    @property
    @abstractmethod
    def bytes_per_image(self) -> int:
        """Bytes of a stored image."""

    @property
    def table_bytes(self) -> int:
        """Bytes of a set that do not depend on the number of images."""
        return 0

    @property
    @abstractmethod
    def row_tensors(self) -> tuple[str, ...]:
        """Names of the tensors of `pack` that have one row per image."""

    def smaller(self, image_bytes: int) -> Codec:
        """A codec of worse images with at least `image_bytes`; itself, if there is none."""
        return self

    @abstractmethod
    def encode(self, images: Tensor) -> list[Tensor]:
        """The planes of normalised images [n, c, h, w]."""

    @abstractmethod
    def decode(self, planes: Sequence[Tensor]) -> Tensor:
        """The normalised images [n, c, h, w]; differentiable in the planes."""

    @abstractmethod
    def pack(self, planes: Sequence[Tensor]) -> dict[str, Tensor]:
        """The planes as they are stored: named tensors, on the CPU."""

    def metadata(self) -> dict[str, str]:
        """Text entries of a file, which together with its tensors determine the codec."""
        return {"storage": self.name, "shape": json.dumps(self.shape)}

    @abstractmethod
    def unpack(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """The planes that `pack` packed.

        Raises:
            ValueError, KeyError: the tensors are not those of this codec.
        """
