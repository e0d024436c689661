"""Labelled images as numpy arrays, the way they lie in a file, and what makes them acceptable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from condense.errors import UserError

Array: TypeAlias = npt.NDArray[Any]

SMALLEST_SIDE = 8
REQUIRED_KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL_KEYS = ("mean", "std", "class_names")


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Both splits of an image set: images uint8 `[n, h, w, c]`, labels int64 `[n]` in 0..classes-1.

    `mean` and `std` (per channel, for pixels scaled to 0..1) and `class_names` are None where the
    source does not say.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, height, width, channels = self.x_train.shape
        return channels, height, width

    @property
    def classes(self) -> int:
        """How many classes there are: the names count, or else the largest label plus one."""
        if self.class_names is not None:
            return len(self.class_names)
        return int(max(self.y_train.max(), self.y_test.max())) + 1


def checked(content: Mapping[str, Array], source: str) -> ImageArrays:
    """Turn raw arrays into `ImageArrays`, or say in one line what is wrong with which key.

    Args:
        content: arrays by key: `x_train y_train x_test y_test`, and optionally `mean`, `std` and
            `class_names`. Grey images may leave out the last axis.
        source: what the arrays were read from, to begin the message with.

    Raises:
        UserError: a key is missing, or holds what cannot be used.
    """
    try:
        return _checked(content)
    except UserError as problem:
        raise UserError(f"{source}: {problem}") from None


def _checked(content: Mapping[str, Array]) -> ImageArrays:
    missing = [key for key in REQUIRED_KEYS if key not in content]
    if missing:
        found = ", ".join(content) or "none"
        raise UserError(f"key {missing[0]} is missing; keys found: {found}")
    x_train, x_test = (_images(key, content[key]) for key in ("x_train", "x_test"))
    if x_train.shape[1:] != x_test.shape[1:]:
        expected, got = x_train.shape[1:], x_test.shape[1:]
        raise UserError(f"key x_test holds images of shape {got}; those of x_train are {expected}")
    arrays = ImageArrays(
        x_train=x_train,
        y_train=_labels("y_train", content["y_train"], len(x_train)),
        x_test=x_test,
        y_test=_labels("y_test", content["y_test"], len(x_test)),
        mean=_per_channel("mean", content, x_train.shape[3]),
        std=_per_channel("std", content, x_train.shape[3]),
        class_names=_class_names(content),
    )
    _check_classes(arrays)
    return arrays


def _images(key: str, images: Array) -> Array:
    """Images uint8 `[n, h, w, c]`, from those or from grey ones without the last axis."""
    if images.dtype != np.uint8:
        not_numbers = images.dtype.kind == "f" and bool(np.isnan(images).any())
        held = f"{images.dtype} values" + (" (NaN among them)" if not_numbers else "")
        raise UserError(f"key {key} holds {held}; uint8 pixels 0..255 are expected")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UserError(
            f"key {key} has shape {images.shape}; images [n, height, width, 1 or 3] "
            "or grey ones [n, height, width] are expected"
        )
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        size = f"{images.shape[1]}×{images.shape[2]}"
        raise UserError(
            f"key {key} holds images of {size} pixels; at least {SMALLEST_SIDE} a side are expected"
        )
    if len(images) == 0:
        raise UserError(f"key {key} is empty; at least one image is expected")
    return images


def _labels(key: str, labels: Array, expected: int) -> Array:
    """Labels int64 `[expected]`, none of them negative."""
    if labels.dtype.kind not in "iu":
        raise UserError(f"key {key} holds {labels.dtype} values; integer labels are expected")
    if labels.shape != (expected,):
        raise UserError(
            f"key {key} has shape {labels.shape}; one label for each of the {expected} images "
            "is expected"
        )
    if int(labels.min()) < 0:
        raise UserError(f"key {key} holds the label {int(labels.min())}; labels start at 0")
    if int(labels.max()) > np.iinfo(np.int64).max:
        raise UserError(f"key {key} holds the label {int(labels.max())}; labels count up from 0")
    return labels.astype(np.int64)


def _per_channel(key: str, content: Mapping[str, Array], channels: int) -> tuple[float, ...] | None:
    if key not in content:
        return None
    values = content[key]
    if values.dtype.kind != "f" or values.shape != (channels,) or not np.isfinite(values).all():
        raise UserError(
            f"key {key} is {values.dtype} of shape {values.shape}; a finite float for each of the "
            f"{channels} channels is expected"
        )
    low_enough, high_enough = bool((values <= 1).all()), bool((values >= 0).all())
    if not (low_enough and high_enough) or (key == "std" and not (values > 0).all()):
        raise UserError(f"key {key} is {values.tolist()}; values for pixels 0..1 are expected")
    return tuple(float(value) for value in values)


def _class_names(content: Mapping[str, Array]) -> tuple[str, ...] | None:
    if "class_names" not in content:
        return None
    names = content["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1 or len(set(names.tolist())) != names.size:
        raise UserError(
            f"key class_names is {names.dtype} of shape {names.shape}; a list of different "
            "strings is expected"
        )
    return tuple(str(name) for name in names)


def _check_classes(arrays: ImageArrays) -> None:
    """Every label is below the number of classes, and every class has a training image."""
    classes = arrays.classes
    for key, labels in (("y_train", arrays.y_train), ("y_test", arrays.y_test)):
        if labels.max() >= classes:
            raise UserError(f"key {key} holds the label {labels.max()}; there are {classes} names")
    # Not bincount: a stray label of 10⁹ must end in the message, not in 8 GB of zeros.
    present = np.unique(arrays.y_train)
    if len(present) < classes:
        absent = int(np.argmax(np.append(present, classes + 1) != np.arange(len(present) + 1)))
        raise UserError(
            f"key y_train has no image of class {absent}; labels 0..{classes - 1} without gaps "
            "are expected"
        )
