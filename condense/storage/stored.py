"""The stored form of the images of a set: the quantised planes of a codec."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.config.methods import LARGEST_FACTOR
from condense.storage.codecs import Codec, Shape, codec
from condense.storage.quantise import Quantised, quantise


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images as they are stored, 8 bits per number.

    Attributes:
        storage: name of the codec.
        factor: divides height and width.
        shape: of a decoded image.
        planes: of all images.
    """

    storage: str
    factor: int
    shape: Shape
    planes: tuple[Quantised, ...]

    @classmethod
    def of(cls, storage: str, coder: Codec, planes: Sequence[Tensor]) -> StoredImages:
        """Planes of `coder`, each [n, channels, height, width], rounded to 8 bits."""
        ranges = zip(planes, coder.pixel_range, strict=True)
        rounded = tuple(quantise(plane.cpu(), *limits) for plane, limits in ranges)
        return cls(storage, coder.factor, coder.shape, rounded)

    def decode(self, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """The images as pixels, float32 [n, c, h, w]; 0 is black and 1 white, not clamped.

        Args:
            mean, std: per channel, the normalisation with which they were encoded.
        """
        coder = codec(self.storage, self.shape, mean, std, self.factor)
        images = coder.decode([plane.values() for plane in self.planes])
        return images * coder.std + coder.mean

    @property
    def bytes(self) -> int:
        """Bytes of all images, with the ranges of the planes."""
        return sum(
            plane.levels.nbytes + plane.low.nbytes + plane.high.nbytes for plane in self.planes
        )

    def tensors(self) -> dict[str, Tensor]:
        """Named tensors for a file."""
        named = {}
        for number, plane in enumerate(self.planes):
            named[f"plane{number}"] = plane.levels
            named[f"plane{number}.low"] = plane.low
            named[f"plane{number}.high"] = plane.high
        return named

    def metadata(self) -> dict[str, str]:
        """Text entries for a file."""
        return {
            "storage": self.storage,
            "factor": str(self.factor),
            "shape": json.dumps(self.shape),
        }

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> StoredImages:
        """The images of a file with `tensors` and `metadata`.

        Raises:
            ValueError, KeyError, UserError: the content is invalid.
        """
        channels, height, width = map(int, json.loads(metadata["shape"]))
        shape, factor = (channels, height, width), int(metadata["factor"])
        if channels not in (1, 3) or min(height, width) < 1 or not 1 <= factor <= LARGEST_FACTOR:
            raise ValueError(f"images of shape {shape} and factor {factor} do not exist")
        blank = (0.0,) * channels
        coder = codec(metadata["storage"], shape, blank, (1.0,) * channels, factor)
        planes = []
        for number, expected in enumerate(coder.planes):
            levels = tensors[f"plane{number}"]
            if levels.dtype != torch.uint8 or tuple(levels.shape[1:]) != expected:
                raise ValueError(f"plane {number} is {levels.dtype} {list(levels.shape)}")
            low, high = (tensors[f"plane{number}.{end}"] for end in ("low", "high"))
            for limit in (low, high):
                if limit.dtype != torch.float32 or limit.shape != (expected[0], 1, 1):
                    raise ValueError(f"the range of plane {number} is {list(limit.shape)}")
            if not (low.isfinite().all() and high.isfinite().all() and (low < high).all()):
                raise ValueError(f"the range of plane {number} is not finite and ascending")
            planes.append(Quantised(levels, low, high))
        if len({len(plane.levels) for plane in planes}) != 1:
            raise ValueError("the planes have different numbers of images")
        return cls(metadata["storage"], factor, shape, tuple(planes))
