"""How many images fit into the bytes of a number of whole images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.storage.codecs import Codec
from condense.storage.dct import Dct, Spectrum
from condense.storage.pixels import Pixels
from condense.storage.registry import pixel_codec
from condense.storage.stored import StoredImages

LABEL_BYTES = 1
"""Bytes per class of a soft label."""

ENOUGH = 1000
"""About the most images per class with storage dct; the bytes that are left are spent on better
ones, from which networks learn more."""

SAMPLE = 2000
"""Training images from which the statistics of the coefficients are computed, at most."""

BATCH = 100
"""Images that are converted to floats at a time."""

_spectra: WeakKeyDictionary[ImageData, Spectrum] = WeakKeyDictionary()
"""By the images, which do not change."""


def codec_of(data: ImageData, settings: MethodSettings, most: int | None = None) -> Codec:
    """The codec with which a set of `data` is stored.

    Args:
        data: the images.
        settings: storage, factor, image size and number of images.
        most: images per class that are stored at most; default: all of the smallest class.

    Raises:
        UserError: the images are smaller than the factor.
    """
    if settings.storage == Dct.name:
        most = most or int(data.train_counts.min())
        return _dct(data, settings, min(ENOUGH, most))
    name = Pixels.name if settings.storage == "float32" else settings.storage
    return pixel_codec(name, data.shape, data.mean, data.std, settings.factor)


def _dct(data: ImageData, settings: MethodSettings, most: int) -> Codec:
    """Coefficients. Without `image_bytes`: small images; better ones if `most` of each class do not
    fill the bytes; pixels if as many whole images fit."""
    fit = partial(Dct.fit, _spectrum(data), data.shape, data.mean, data.std)
    codec = smallest = fit(settings.image_bytes)
    if settings.image_bytes is not None:
        return codec
    fitting = min(most, _fitting(codec, data, settings))
    pixels = pixel_codec(Pixels.name, data.shape, data.mean, data.std)
    if fitting <= _fitting(pixels, data, settings):
        return pixels
    place = settings.ipc * math.prod(data.shape)
    for _ in range(2):  # the table of the first is at least as large as that of the second
        image_bytes = (place - _shared_bytes(codec, data)) // fitting - _label_bytes(data, settings)
        codec = fit(max(image_bytes, smallest.bytes_per_image))
    return codec


def _spectrum(data: ImageData) -> Spectrum:
    """The statistics of the images; computed once, because a run needs them many times."""
    if data not in _spectra:
        some = data.x_train[_sample(data)].split(BATCH)
        _spectra[data] = Spectrum.of((data.normalise(part) for part in some), data.std)
    return _spectra[data]


def _sample(data: ImageData) -> Tensor:
    """Rows of `SAMPLE` training images at most, at equal distances; if these miss a class, as they
    may where classes take turns, at equal distances in the images sorted by class."""
    step = -(-len(data.x_train) // SAMPLE)
    rows = torch.arange(0, len(data.x_train), step, device=data.device)
    if len(data.y_train[rows].unique()) < data.classes:
        return torch.cat(data.train_indices_by_class())[::step]
    return rows


def images_per_class(
    data: ImageData, settings: MethodSettings, codec: Codec | None = None, most: int | None = None
) -> int:
    """Number of images per class in the bytes of `settings.ipc` whole images, 8 bits per number.

    With storage float32 and factor 1 it is `settings.ipc`, as published: the bytes of labels are
    not counted.

    Args:
        data: the images.
        settings: storage, factor, image size and number of images.
        codec: default: `codec_of(data, settings)`.
        most: of `codec_of`.

    Raises:
        UserError: not one image fits.
    """
    codec = codec or codec_of(data, settings)
    count = _fitting(codec, data, settings)
    if count < 1:
        needed = codec.bytes_per_image + _label_bytes(data, settings) + _shared_bytes(codec, data)
        raise UserError(
            f"an image needs {needed} bytes with its label and its share of the tables, "
            f"{settings.ipc} whole images have {settings.ipc * math.prod(data.shape)}: choose a "
            "larger --ipc, smaller images, or --labels hard"
        )
    if codec.name == Dct.name and settings.image_bytes is None:
        # Rounded bytes may leave space for one more.
        return min(count, most or int(data.train_counts.min()))
    return count


def _fitting(codec: Codec, data: ImageData, settings: MethodSettings) -> int:
    """Number of images per class that fit, below 1 if none."""
    each = codec.bytes_per_image + _label_bytes(data, settings)
    return (settings.ipc * math.prod(data.shape) - _shared_bytes(codec, data)) // each


def _label_bytes(data: ImageData, settings: MethodSettings) -> int:
    """Bytes of the label of an image that are counted."""
    counted = settings.labels == "soft" and settings.storage != "float32"
    return LABEL_BYTES * data.classes if counted else 0


def _shared_bytes(codec: Codec, data: ImageData) -> int:
    """Bytes of the tables per class."""
    return -(-codec.table_bytes // data.classes)


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
