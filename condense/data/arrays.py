"""Labelled images as numpy arrays, as stored in a file, and their validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from condense.data.image_arrays import Array, Kind, as_pixels, image_shape, is_grey
from condense.data.labels import Labels, check_label_kind, check_width, listed, numbered
from condense.data.splits import SEED, TEST_SHARE, stratified
from condense.errors import UserError

REQUIRED_KEYS = ("x_train", "y_train")
TEST_KEYS = ("x_test", "y_test")
OPTIONAL_KEYS = ("mean", "std", "class_names")
ALL_KEYS = REQUIRED_KEYS + TEST_KEYS + OPTIONAL_KEYS

DARK = 64
"""Pixels that are all below it are probably of another scale, such as 0..16."""


@dataclass(frozen=True, eq=False)
class ImageArrays:
    """Both splits of a dataset: images uint8 `[n, h, w, c]`, labels int64 `[n]` in 0..classes-1.

    `mean` and `std` (per channel, for pixels scaled to 0..1) and `class_names` are None if the
    source does not contain them. `notes` are lines for the user: what was done to the source.
    `source` says how it is read again: its path, the split.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

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


def checked(content: Mapping[str, Array], source: str) -> ImageArrays:
    """Validate raw arrays and convert them to `ImageArrays`.

    Without test images, a part of each class is set aside. Classes without a training image are
    left out. Grey images stored as RGB become grey, unless `mean` and `std` are given.

    Args:
        content: arrays by key: `x_train`, `y_train`, and optionally `x_test`, `y_test`, `mean`,
            `std` and `class_names`. Images and labels as in `image_arrays` and `labels`.
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


def _checked(content: Mapping[str, Array]) -> ImageArrays:
    images = as_pixels({key: content[key] for key in ("x_train", "x_test") if key in content})
    mean, std = _per_channel("mean", content), _per_channel("std", content)
    labels = numbered(
        {key: content[key] for key in ("y_train", "y_test") if key in content},
        _class_names(content),
    )
    notes = []
    brightest = max(int(array.max()) for array in images.values())
    if 0 < brightest < DARK:
        notes.append(
            f"no pixel is above {brightest} of 255: if that is white, give the images divided by "
            f"{brightest}"
        )
    if labels.absent:
        notes.append(f"no training image of {listed(labels.absent)}: left out")
    if mean is None and std is None and _all_grey(images):
        images = {key: array[..., :1] for key, array in images.items()}
        notes.append("grey images stored as RGB: one channel is kept")
    arrays = {**images, **labels.splits}
    record: dict[str, Any] = {}
    if "x_test" not in arrays:
        arrays = _split(arrays)
        record["split"] = {"test_share": TEST_SHARE, "seed": SEED}
        notes.append(
            f"no test images: {len(arrays['x_test'])} of {len(labels.splits['y_train'])}, "
            f"{TEST_SHARE:.0%} of each class, become the test split (seed {SEED})"
        )
    notes += _untested(arrays, labels)
    return ImageArrays(
        **arrays, mean=mean, std=std, class_names=labels.names, notes=tuple(notes), source=record
    )


def _all_grey(images: Mapping[str, Array]) -> bool:
    return all(array.shape[3] == 3 and is_grey(array) for array in images.values())


def _split(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Training and test images from the training images alone."""
    train, test = stratified(arrays["y_train"])
    if not len(test):
        raise UserError("no class has two images: one to train and one to test are needed")
    return {
        f"{kind}_{split}": arrays[f"{kind}_train"][rows]
        for split, rows in (("train", train), ("test", test))
        for kind in "xy"
    }


def _untested(arrays: Mapping[str, Array], labels: Labels) -> list[str]:
    """A line about the classes without a test image, if there are any."""
    untested = np.setdiff1d(arrays["y_train"], arrays["y_test"]).tolist()
    names = labels.names or [str(label) for label in range(max(untested, default=-1) + 1)]
    missing = listed([names[label] for label in untested])
    return [f"no test image of {missing}: not tested"] if untested else []


def _check_kinds(content: Mapping[str, Kind]) -> None:
    tested = any(key in content for key in TEST_KEYS)
    for key in REQUIRED_KEYS + (TEST_KEYS if tested else ()):
        if key not in content:
            found = ", ".join(content) or "none"
            raise UserError(f"key {key} is missing; keys found: {found}")
    splits = ("train", "test") if tested else ("train",)
    shapes = [image_shape(f"x_{split}", content[f"x_{split}"]) for split in splits]
    if len(set(shapes)) > 1:
        raise UserError(
            f"key x_test contains images of shape {shapes[1]}; those of x_train are {shapes[0]}"
        )
    for split in splits:
        check_label_kind(f"y_{split}", content[f"y_{split}"], content[f"x_{split}"].shape[0])
    _check_same_kind(content)
    for key in ("mean", "std"):
        if key in content:
            values = content[key]
            if values.dtype.kind != "f" or values.shape != shapes[0][2:]:
                raise _no_constants(key, values, shapes[0][2])
    given = [key for key in ("mean", "std") if key in content]
    if len(given) == 1:
        other = "std" if given == ["mean"] else "mean"
        raise UserError(f"key {given[0]} is there, {other} is not: give both, or none of them")
    if "class_names" in content:
        names = content["class_names"]
        if names.dtype.kind != "U" or len(names.shape) != 1:
            raise _no_names(names)
        check_width("class_names", names)


def _check_same_kind(content: Mapping[str, Kind]) -> None:
    """Labels of both splits must be integers, or strings."""
    kinds = {content[key].dtype.kind in "iu" for key in ("y_train", "y_test") if key in content}
    if len(kinds) > 1:
        raise UserError("one of y_train and y_test contains integers, the other strings")


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


def _class_names(content: Mapping[str, Array]) -> list[str] | None:
    if "class_names" not in content:
        return None
    names: list[str] = content["class_names"].tolist()
    if len(set(names)) != len(names):
        raise _no_names(content["class_names"])
    return names
