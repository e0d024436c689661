"""The images of a set as they are stored: the tensors of a codec."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from condense.storage.codecs import Codec
from condense.storage.registry import read_codec
from condense.system.memory import check_memory
from condense.system.plain_torch import plain_torch


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images as they are stored.

    Attributes:
        tensors: by name, as the codec packs them.
        metadata: text entries for a file: the codec.
    """

    tensors: Mapping[str, Tensor] = field(repr=False)
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, codec: Codec, planes: Sequence[Tensor]) -> StoredImages:
        """Planes of `codec`, each [n, channels, height, width], as they are stored."""
        return cls(codec.pack(planes), codec.metadata())

    @plain_torch()
    def decode(self, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """The images as pixels, float32 [n, c, h, w]; 0 is black and 1 white, not clamped.

        Args:
            mean, std: per channel, the normalisation with which they were encoded.

        Raises:
            ValueError, KeyError, UserError: the content is invalid.
        """
        codec = read_codec(self.metadata, self.tensors, mean, std)
        planes = codec.unpack(self.tensors)
        # The images, and the codec's steps to them, 4 bytes per number each.
        check_memory(16 * len(planes[0]) * math.prod(codec.shape), "decoding these images")
        return codec.decode(planes) * codec.std + codec.mean

    @property
    def bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())
