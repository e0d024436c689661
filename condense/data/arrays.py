"""Labelled images as numpy arrays, as stored in a file, and their validation."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from condense.errors import UserError, shortened

Array: TypeAlias = npt.NDArray[Any]

SMALLEST_SIDE = 8
LONGEST_NAME = 200
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, surrogates (bytes not in UTF-8), line separators."""
REQUIRED_KEYS = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL_KEYS = ("mean", "std", "class_names")


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Both splits of a dataset: images uint8 `[n, h, w, c]`, labels int64 `[n]` in 0..classes-1.

    `mean` and `std` (per channel, for pixels scaled to 0..1) and `class_names` are None if the
    source does not contain them.
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
        """The number of classes: of `class_names`, or else the largest label plus one."""
        if self.class_names is not None:
            return len(self.class_names)
        return int(max(self.y_train.max(), self.y_test.max())) + 1


class Kind(Protocol):
    """Type and shape of an array, also known from a header before the array is read."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""


def checked(content: Mapping[str, Array], source: str) -> ImageArrays:
    """Validate raw arrays and convert them to `ImageArrays`.

    Args:
        content: arrays by key: `x_train y_train x_test y_test`, and optionally `mean`, `std` and
            `class_names`. Grey images may omit the last axis.
        source: where the arrays come from; the message begins with it.

    Raises:
        UserError: a key is missing or invalid; the message names it.
    """
    check_kinds(content, source)
    try:
        return _checked(content)
    except UserError as problem:
        raise UserError(f"{source}: {problem}") from None


def check_kinds(content: Mapping[str, Kind], source: str) -> None:
    """Check only types and shapes, which an archive gives before its arrays are read.

    Raises:
        UserError: a key is missing, or its type or shape is invalid.
    """
    try:
        _check_kinds(content)
    except UserError as problem:
        raise UserError(f"{source}: {problem}") from None


def check_class_name(name: str) -> None:
    """Check that a name can be written to files and printed on one line.

    Raises:
        UserError: it is too long, or contains control characters or bytes that are not UTF-8.
    """
    if len(name) > LONGEST_NAME:
        raise UserError(f"the class name {shortened(name, 40)} is longer than {LONGEST_NAME}")
    if any(unicodedata.category(char) in UNSHOWN for char in name):
        raise UserError(
            f"the class name {shortened(name, 40)} has bytes that are not UTF-8, or characters "
            "that cannot be shown: choose another"
        )


def _checked(content: Mapping[str, Array]) -> ImageArrays:
    x_train, x_test = (_with_channels(content[key]) for key in ("x_train", "x_test"))
    arrays = ImageArrays(
        x_train=x_train,
        y_train=_labels("y_train", content["y_train"]),
        x_test=x_test,
        y_test=_labels("y_test", content["y_test"]),
        mean=_per_channel("mean", content),
        std=_per_channel("std", content),
        class_names=_class_names(content),
    )
    _check_classes(arrays)
    return arrays


def _check_kinds(content: Mapping[str, Kind]) -> None:
    missing = [key for key in REQUIRED_KEYS if key not in content]
    if missing:
        found = ", ".join(content) or "none"
        raise UserError(f"key {missing[0]} is missing; keys found: {found}")
    expected, got = (_image_shape(key, content[key]) for key in ("x_train", "x_test"))
    if expected != got:
        raise UserError(
            f"key x_test contains images of shape {got}; those of x_train are {expected}"
        )
    for split in ("train", "test"):
        _check_label_kind(f"y_{split}", content[f"y_{split}"], content[f"x_{split}"].shape[0])
    for key in ("mean", "std"):
        if key in content:
            values = content[key]
            if values.dtype.kind != "f" or values.shape != expected[2:]:
                raise _no_constants(key, values, expected[2])
    if "class_names" in content:
        names = content["class_names"]
        if names.dtype.kind != "U" or len(names.shape) != 1:
            raise _no_names(names)
        if names.dtype.itemsize > 4 * LONGEST_NAME:
            raise UserError(
                f"key class_names contains names of more than {LONGEST_NAME} characters"
            )


def _image_shape(key: str, images: Kind) -> tuple[int, ...]:
    """Height, width and channels; grey images may omit the last axis."""
    if images.dtype != np.uint8:
        raise UserError(
            f"key {key} contains {images.dtype} values; uint8 pixels 0..255 are expected"
        )
    shape = (*images.shape, 1) if len(images.shape) == 3 else images.shape
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise UserError(
            f"key {key} has shape {shape}; images [n, height, width, 1 or 3] "
            "or grey ones [n, height, width] are expected"
        )
    if min(shape[1:3]) < SMALLEST_SIDE:
        raise UserError(
            f"key {key} contains images of {shape[1]}×{shape[2]} pixels; "
            f"at least {SMALLEST_SIDE} a side are expected"
        )
    if shape[0] < 1:
        raise UserError(f"key {key} is empty; at least one image is expected")
    return shape[1:]


def _check_label_kind(key: str, labels: Kind, expected: int) -> None:
    if labels.dtype.kind not in "iu":
        raise UserError(f"key {key} contains {labels.dtype} values; integer labels are expected")
    if labels.shape != (expected,):
        raise UserError(
            f"key {key} has shape {labels.shape}; one label for each of the {expected} images "
            "is expected"
        )


def _with_channels(images: Array) -> Array:
    return images[..., None] if images.ndim == 3 else images


def _labels(key: str, labels: Array) -> Array:
    """Labels as int64; raises UserError if one is negative."""
    if int(labels.min()) < 0:
        raise UserError(f"key {key} contains the label {int(labels.min())}; labels start at 0")
    if int(labels.max()) > np.iinfo(np.int64).max:
        raise UserError(f"key {key} contains the label {int(labels.max())}; labels count up from 0")
    return labels.astype(np.int64)


def _no_constants(key: str, values: Kind, channels: int) -> UserError:
    return UserError(
        f"key {key} is {values.dtype} of shape {values.shape}; a finite float for each of the "
        f"{channels} channels is expected"
    )


def _no_names(names: Kind) -> UserError:
    return UserError(
        f"key class_names is {names.dtype} of shape {names.shape}; a list of different "
        "strings is expected"
    )


def _per_channel(key: str, content: Mapping[str, Array]) -> tuple[float, ...] | None:
    if key not in content:
        return None
    values = content[key]
    if not np.isfinite(values).all():
        raise _no_constants(key, values, len(values))
    low_enough, high_enough = bool((values <= 1).all()), bool((values >= 0).all())
    if not (low_enough and high_enough) or (key == "std" and not (values > 0).all()):
        raise UserError(f"key {key} is {values.tolist()}; values for pixels 0..1 are expected")
    return tuple(float(value) for value in values)


def _class_names(content: Mapping[str, Array]) -> tuple[str, ...] | None:
    if "class_names" not in content:
        return None
    names: list[str] = content["class_names"].tolist()
    if len(set(names)) != len(names):
        raise _no_names(content["class_names"])
    for name in names:
        check_class_name(name)
    return tuple(names)


def _check_classes(arrays: ImageArrays) -> None:
    """Check that labels are below the number of classes, and each class has a training image."""
    classes = arrays.classes
    for key, labels in (("y_train", arrays.y_train), ("y_test", arrays.y_test)):
        if labels.max() >= classes:
            raise UserError(
                f"key {key} contains the label {labels.max()}; there are {classes} names"
            )
    # Not bincount: an invalid label of 10⁹ must give the message, not allocate 8 GB of zeros.
    present = np.unique(arrays.y_train)
    if len(present) < classes:
        absent = int(np.argmax(np.append(present, classes + 1) != np.arange(len(present) + 1)))
        raise UserError(
            f"key y_train has no image of class {absent}; labels 0..{classes - 1} without gaps "
            "are expected"
        )
