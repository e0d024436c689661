"""The codecs by name, and the codec of a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from torch import Tensor

from condense.config.methods import LARGEST_FACTOR
from condense.errors import unknown
from condense.storage.codecs import Codec, Shape
from condense.storage.coefficients import Coefficients
from condense.storage.dct import Dct
from condense.storage.pixels import PixelCodec, Pixels, YCbCr420

PIXEL_CODECS: dict[str, type[PixelCodec]] = {"pixels": Pixels, "ycbcr420": YCbCr420}

ENTRIES = ("storage", "shape", "factor")
"""Names of the text entries of a file."""


def pixel_codec(
    name: str, shape: Shape, mean: Sequence[float], std: Sequence[float], factor: int = 1
) -> PixelCodec:
    """The pixel codec with this name; for grey images always `pixels`.

    Raises:
        UserError: there is no such codec, or the images are smaller than the factor.
    """
    if name not in PIXEL_CODECS:
        raise unknown("storage", name, [*PIXEL_CODECS, Dct.name])
    kind = Pixels if shape[0] == 1 else PIXEL_CODECS[name]
    return kind(shape, mean, std, factor)


def read_codec(
    entries: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    mean: Sequence[float],
    std: Sequence[float],
) -> Codec:
    """The codec of a file.

    Args:
        entries: what `Codec.metadata` returned.
        tensors: of the file.
        mean, std: per channel, the normalisation of its images.

    Raises:
        ValueError, KeyError, UserError: the content is invalid.
    """
    channels, height, width = map(int, json.loads(entries["shape"]))
    shape = (channels, height, width)
    if channels not in (1, 3) or min(height, width) < 1:
        raise ValueError(f"images of shape {shape} do not exist")
    if entries["storage"] == Dct.name:
        return Dct(shape, mean, std, Coefficients.read(tensors, shape))
    factor = int(entries["factor"])
    if not 1 <= factor <= LARGEST_FACTOR:
        raise ValueError(f"factor {factor} is not 1 to {LARGEST_FACTOR}")
    return pixel_codec(entries["storage"], shape, mean, std, factor)
