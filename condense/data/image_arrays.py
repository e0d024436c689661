"""Arrays of images in the usual layouts and scales, as uint8 [n, height, width, channels]."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from condense.errors import UserError

Array: TypeAlias = npt.NDArray[Any]

SMALLEST_SIDE = 8
CHANNELS = (1, 3)
CHUNK = 1024  # images converted at a time
TOLERANCE = 1e-3
"""Allowed distance of floats from 0..1 or 0..255: rounding."""
LEAST_TOP = 16
"""Floats with fractions whose maximum is smaller, and above 1, are no pixels in 0..255."""


class Kind(Protocol):
    """Type and shape of an array, also known from a header before the array is read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""


def image_shape(key: str, images: Kind) -> tuple[int, int, int]:
    """Height, width and channels of an array of images; from its type and shape alone.

    Args:
        key: the name of the array; the message begins with it.
        images: numbers [n, h, w, c], [n, c, h, w] or, grey, [n, h, w].

    Raises:
        UserError: these are no images.
    """
    if images.dtype.kind not in "uifb":
        raise UserError(f"key {key} contains {images.dtype} values; pixels 0..255 are expected")
    shape = _channels_last(images.shape)
    if len(shape) != 4 or shape[3] not in CHANNELS:
        raise UserError(
            f"key {key} has shape {images.shape}; images [n, height, width, 1 or 3], "
            "[n, 1 or 3, height, width] or grey ones [n, height, width] are expected"
        )
    check_sides(f"key {key} contains", shape[1], shape[2])
    if shape[0] < 1:
        raise UserError(f"key {key} is empty; at least one image is expected")
    return shape[1], shape[2], shape[3]


def check_sides(what: str, height: int, width: int, advice: str = "") -> None:
    """Check that images are not too small.

    Args:
        what: has the images; the message begins with it.
        height: of the images.
        width: of the images.
        advice: what the user can do; the end of the message.

    Raises:
        UserError: a side has fewer than `SMALLEST_SIDE` pixels.
    """
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"{what} images of {height}×{width} pixels; "
            f"at least {SMALLEST_SIDE} a side are expected{advice}"
        )


def as_pixels(images: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays of both splits as uint8 [n, h, w, c].

    Floats in 0..1 and integers 0 and 1 (black and white) are multiplied by 255; other numbers in
    0..255 are pixels already. Numbers of one kind in both splits have one scale.

    Raises:
        UserError: values are outside these ranges, as in normalised images, or only one split has
            fractions from 0 to 1, or fractions are slightly above 1.
    """
    kinds = {key: _kind(array) for key, array in images.items()}
    highs = {key: _checked_maximum(key, array) for key, array in images.items()}
    largest = {
        kind: max(highs[key] for key in images if kinds[key] == kind) for kind in kinds.values()
    }
    scales = {kind: 255 if high <= 1 + TOLERANCE else 1 for kind, high in largest.items()}
    for key, high in highs.items():
        small = kinds[key] == "float" and scales["float"] == 1 and high < LEAST_TOP
        if small and (images[key] % 1).any():
            _refuse_fractions(key, high, largest["float"])
    return {key: _scaled(_moved(array), scales[kinds[key]]) for key, array in images.items()}


def is_grey(images: Array) -> bool:
    """Whether all channels of the images [n, h, w, 3] are the same."""
    return all(
        bool((part[..., :1] == part[..., 1:]).all())
        for part in (images[start : start + CHUNK] for start in range(0, len(images), CHUNK))
    )


def _channels_last(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) == 3:
        return (*shape, 1)
    if len(shape) == 4 and shape[3] not in CHANNELS and shape[1] in CHANNELS:
        return (shape[0], shape[2], shape[3], shape[1])
    return shape


def _moved(images: Array) -> Array:
    """The same values with the channels last."""
    if images.ndim == 3:
        return images[..., None]
    return images if _channels_last(images.shape) == images.shape else np.moveaxis(images, 1, 3)


def _checked_maximum(key: str, images: Array) -> float:
    """The largest value, if all are pixels."""
    if images.dtype.kind in "bu" and images.dtype.itemsize == 1:
        return float(images.max())
    low, high = float(images.min()), float(images.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"key {key} contains NaN or infinite values; pixels 0..255 are expected")
    if low < -TOLERANCE or high > 255 + TOLERANCE:
        raise UserError(
            f"key {key} contains values from {low:.4g} to {high:.4g}; pixels 0..255 or 0..1 are "
            "expected: give the images without normalisation"
        )
    return high


def _refuse_fractions(key: str, high: float, largest: float) -> None:
    """Raise unless fractions up to `high` can be pixels 0..255, beside `largest` in both splits."""
    if high <= 1 + TOLERANCE:
        raise UserError(
            f"key {key} contains values up to {high:.4g}, the other split up to "
            f"{largest:.4g}: give both in 0..255 or both in 0..1"
        )
    if largest < LEAST_TOP:
        raise UserError(
            f"key {key} contains fractions, and values up to {high:.4g}; pixels 0..255 or 0..1 are "
            "expected: clip them, or give the images without normalisation"
        )


def _kind(images: Array) -> str:
    """Numbers of the same kind have one scale in both splits."""
    return {"f": "float", "b": "bool"}.get(images.dtype.kind, "integer")


def _scaled(images: Array, scale: int) -> Array:
    if images.dtype == np.uint8 and scale == 1:
        return images
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        # A factor of float32, because the product of small integers could leave their type.
        pixels[start : start + CHUNK] = np.rint(part * np.float32(scale)).clip(0, 255)
    return pixels
