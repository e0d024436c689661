"""Exemplars as they are stored: the tensors of a codec of `condense`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from condense import Codec, StoredImages


@dataclass(frozen=True, eq=False)
class StoredExemplars:
    """Images of one class, best first.

    Attributes:
        codec: decodes the images.
        tensors: by name, as the codec packs them.
        logits: of the classes so far, float16 [n, classes], if they are stored with the images.
    """

    codec: Codec
    tensors: Mapping[str, Tensor] = field(repr=False)
    logits: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, codec: Codec, planes: Sequence[Tensor], logits: Tensor | None = None
    ) -> StoredExemplars:
        """Planes of the codec, each [n, channels, height, width], as they are stored."""
        return cls(codec, codec.pack(planes), logits)

    def __len__(self) -> int:
        return len(self.tensors[self.codec.row_tensors[0]])

    def __getitem__(self, rows: slice | Tensor) -> StoredExemplars:
        """The exemplars in these rows."""
        rows = torch.arange(len(self))[rows]  # a copy: a slice would keep the memory of all rows
        mine = {name: self.tensors[name][rows] for name in self.codec.row_tensors}
        logits = None if self.logits is None else self.logits[rows]
        return replace(self, tensors={**self.tensors, **mine}, logits=logits)

    def recoded(self, codec: Codec) -> StoredExemplars:
        """The same images with another codec."""
        if codec is self.codec:
            return self
        images = self.codec.decode(self.codec.unpack(self.tensors))
        return StoredExemplars.of(codec, codec.encode(images), self.logits)

    def like(self, other: StoredExemplars) -> bool:
        """Whether both have the same codec and the same tables."""
        if self.codec.metadata() != other.codec.metadata() or {*self.tensors} != {*other.tensors}:
            return False
        tables = {*self.tensors} - {*self.codec.row_tensors}
        return all(self.tensors[name].equal(other.tensors[name]) for name in tables)

    def with_codec_of(self, other: StoredExemplars) -> StoredExemplars:
        """The same exemplars with the codec object of `other`, which is `like` them."""
        return replace(self, codec=other.codec)

    def split(self, sizes: Sequence[int]) -> list[StoredExemplars]:
        """Consecutive parts of these sizes."""
        return [self[rows] for rows in torch.arange(len(self)).split(list(sizes))]

    def pixels(self, like: Codec | None = None) -> Tensor:
        """The images, float32 [n, c, h, w] with 0 for black and 1 for white, not clamped.

        Args:
            like: default: the own codec. The pixels become those that its normalisation turns into
                the same inputs of a network; other benchmarks may be normalised otherwise.
        """
        images, codec = self.codec.decode(self.codec.unpack(self.tensors)), like or self.codec
        return images * codec.std + codec.mean

    @property
    def whole_images(self) -> int:
        """The number of whole images, 8 bits per number, whose bytes these fill, rounded up."""
        return -(-len(self) * self.codec.bytes_per_image // math.prod(self.codec.shape))

    @property
    def bytes(self) -> int:
        """Bytes of the images and the logits, without the codec's tables."""
        rows = sum(self.tensors[name].nbytes for name in self.codec.row_tensors)
        return rows + (0 if self.logits is None else self.logits.nbytes)

    def state_dict(self) -> dict[str, Tensor]:
        """All tensors by name, for a checkpoint."""
        logits = {} if self.logits is None else {"logits": self.logits}
        return {**self.tensors, **logits}


def joined_logits(parts: Sequence[StoredExemplars]) -> Tensor | None:
    """The logits of all parts, float16 [n, classes], NaN where missing; None if no part has any."""
    classes = max((0 if part.logits is None else part.logits.shape[1] for part in parts), default=0)
    if not classes:
        return None
    rows = torch.full((sum(map(len, parts)), classes), torch.nan, dtype=torch.float16)
    for part, mine in zip(parts, rows.split([len(part) for part in parts]), strict=True):
        if part.logits is not None:
            mine[:, : part.logits.shape[1]] = part.logits
    return rows


def joined_images(parts: Sequence[StoredExemplars]) -> StoredImages | None:
    """The images of all parts as stored; None if the parts have different codecs or tables."""
    first = parts[0]
    if not all(part.like(first) for part in parts):
        return None
    names = first.codec.row_tensors
    rows = {name: torch.cat([part.tensors[name] for part in parts]) for name in names}
    return StoredImages({**first.tensors, **rows}, first.codec.metadata())
