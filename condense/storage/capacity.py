"""How many images fit into the bytes of a number of whole images."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.storage.codecs import Codec, codec
from condense.storage.stored import StoredImages

LABEL_BYTES = 2
"""Bytes per class of a soft label."""


def codec_of(data: ImageData, settings: MethodSettings) -> Codec:
    """The codec with which a set of `data` is stored.

    Raises:
        UserError: the images are smaller than the factor.
    """
    name = "pixels" if settings.storage == "float32" else settings.storage
    return codec(name, data.shape, data.mean, data.std, settings.factor)


def images_per_class(data: ImageData, settings: MethodSettings) -> int:
    """Number of images per class in the bytes of `settings.ipc` whole images, 8 bits per number.

    With storage float32 and factor 1 it is `settings.ipc`, as published: the bytes of labels are
    not counted.

    Raises:
        UserError: not one image fits.
    """
    coder = codec_of(data, settings)
    each = coder.numbers
    if settings.labels == "soft" and settings.storage != "float32":
        each += LABEL_BYTES * data.classes
    count = settings.ipc * math.prod(data.shape) // each
    if not count:
        raise UserError(
            f"one image and its soft label need {each} bytes, more than {settings.ipc} whole "
            "images: choose a larger --ipc or --factor, or --labels hard"
        )
    return count


def stored_set(
    data: ImageData,
    settings: MethodSettings,
    coder: Codec,
    planes: Sequence[Tensor],
    labels: Tensor,
) -> CondensedSet:
    """The set of these images, stored as the settings say.

    Args:
        data: gives normalisation and class names.
        settings: the storage.
        coder: `codec_of(data, settings)`.
        planes: of all images, each [n, channels, height, width].
        labels: [n].
    """
    if settings.storage == "float32":
        return CondensedSet.from_normalised(coder.decode(planes), labels, data)
    return CondensedSet.from_stored(StoredImages.of(settings.storage, coder, planes), labels, data)
