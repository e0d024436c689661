"""How many images fit into the bytes of a number of whole images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.storage.codecs import Codec
from condense.storage.dct import Dct
from condense.storage.pixels import Pixels
from condense.storage.registry import pixel_codec
from condense.storage.stored import StoredImages

LABEL_BYTES = 1
"""Bytes per class of a soft label."""

SAMPLE = 2000
"""Training images from which the statistics of the coefficients are computed, at most."""

BATCH = 100
"""Of these in memory as floats at a time."""


def codec_of(data: ImageData, settings: MethodSettings) -> Codec:
    """The codec with which a set of `data` is stored.

    Raises:
        UserError: the images are smaller than the factor.
    """
    if settings.storage == Dct.name:
        some = data.x_train[:: -(-len(data.x_train) // SAMPLE)]
        batches = (data.normalise(part) for part in some.split(BATCH))
        return Dct.fit(batches, data.shape, data.mean, data.std, settings.image_bytes)
    name = Pixels.name if settings.storage == "float32" else settings.storage
    return pixel_codec(name, data.shape, data.mean, data.std, settings.factor)


def images_per_class(data: ImageData, settings: MethodSettings) -> int:
    """Number of images per class in the bytes of `settings.ipc` whole images, 8 bits per number.

    With storage float32 and factor 1 it is `settings.ipc`, as published: the bytes of labels are
    not counted.

    Raises:
        UserError: not one image fits.
    """
    codec = codec_of(data, settings)
    each = codec.bytes_per_image
    if settings.labels == "soft" and settings.storage != "float32":
        each += LABEL_BYTES * data.classes
    shared = -(-codec.table_bytes // data.classes)
    count = (settings.ipc * math.prod(data.shape) - shared) // each
    if count < 1:
        raise UserError(
            f"an image needs {each + shared} bytes with its label and its share of the tables, "
            f"{settings.ipc} whole images have {settings.ipc * math.prod(data.shape)}: choose a "
            "larger --ipc, smaller images, or --labels hard"
        )
    return count


def stored_set(
    data: ImageData,
    settings: MethodSettings,
    codec: Codec,
    planes: Sequence[Tensor],
    labels: Tensor,
) -> CondensedSet:
    """The set of these images, stored as the settings say.

    Args:
        data: gives normalisation and class names.
        settings: the storage.
        codec: `codec_of(data, settings)`.
        planes: of all images, each [n, channels, height, width].
        labels: [n].
    """
    if settings.storage == "float32":
        return CondensedSet.from_normalised(codec.decode(planes), labels, data)
    return CondensedSet.from_stored(StoredImages.of(codec, planes), labels, data)
