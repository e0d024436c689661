"""Labels of any kind as integers from 0, and the names of their classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from condense.data.image_arrays import Array, Kind
from condense.errors import UserError, shortened

Label: TypeAlias = int | str

LONGEST_NAME = 200
SHOWN = 10
"""Names in a message, at most."""
UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}
"""Unicode categories: control characters, surrogates (bytes not in UTF-8), line separators."""


@dataclass(frozen=True)
class Labels:
    """The labels of each split, int64 [n] in 0..classes-1.

    `names` has one name for each class, or is None if the labels were 0..classes-1 without names.
    `absent` are the names without a training image: they are no classes.
    """

    splits: Mapping[str, Array]
    names: tuple[str, ...] | None
    absent: tuple[str, ...] = ()


def check_label_kind(key: str, labels: Kind, images: int) -> None:
    """Check type and shape of labels: integers, bools or strings, [n] or [n, 1].

    Raises:
        UserError: otherwise; the message begins with the key.
    """
    if labels.shape not in ((images,), (images, 1)):
        one_hot = ", as from y.argmax(1)" if labels.shape[:1] == (images,) else ""
        raise UserError(
            f"key {key} has shape {labels.shape}; one label for each of the {images} images "
            f"is expected{one_hot}"
        )
    if labels.dtype.kind not in "biuUS":
        raise UserError(
            f"key {key} contains {labels.dtype} values; integer labels or strings are expected, as "
            "from y.astype(int)"
        )
    check_width(key, labels)


def check_width(key: str, names: Kind) -> None:
    """Check that an array of strings has none of more than `LONGEST_NAME` characters.

    Raises:
        UserError: otherwise; the array need not be read.
    """
    if names.dtype.kind in "US" and names.dtype.itemsize > 4 * LONGEST_NAME:
        raise UserError(f"key {key} contains names of more than {LONGEST_NAME} characters")


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


def numbered(given: Mapping[str, Array], names: Sequence[str] | None = None) -> Labels:
    """The labels as integers from 0, without gaps.

    Integers are positions in `names`; if some are not, but there are as many labels as names, both
    have the same order. Strings are names. Without `names` the classes are sorted, by value if all
    are numbers.

    Args:
        given: the labels by key: `y_train` and, if there is a test split, `y_test`.
        names: the class names, if they are known.

    Raises:
        UserError: a label has no name or no training image, or a name cannot be used.
    """
    unique = {key: _unique(key, labels) for key, labels in given.items()}
    order, called = _classes(unique["y_train"][0], names)
    number = {label: position for position, label in enumerate(order)}
    splits = {}
    for key, (found, positions) in unique.items():
        for label in found:
            if label not in number:
                raise UserError(f"key {key} contains the label {label}; y_train has no such image")
        splits[key] = np.array([number[label] for label in found], dtype=np.int64)[positions]
    for name in called or ():
        check_class_name(name)
    kept = set(called or ())
    return Labels(splits, called, tuple(name for name in names or () if name not in kept))


def in_order(names: Iterable[str]) -> list[str]:
    """Class names in the order of their labels: by value if all are numbers, else sorted."""
    names = list(names)
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def listed(names: Sequence[str]) -> str:
    """The first names of a list, as text for a message."""
    shown = ", ".join(shortened(name, 40) for name in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown}, … ({len(names)})"


def _unique(key: str, labels: Array) -> tuple[list[Label], Array]:
    """The different labels, ascending, and the position of each image's label in them."""
    found, positions = np.unique(labels.reshape(-1), return_inverse=True)
    if found.dtype.kind != "S":
        return found.tolist(), positions
    try:
        return [label.decode() for label in found.tolist()], positions
    except UnicodeDecodeError:
        raise UserError(f"key {key} contains labels that are not UTF-8") from None


def _classes(
    found: list[Label], names: Sequence[str] | None
) -> tuple[Sequence[Label], tuple[str, ...] | None]:
    """The labels of the classes in their order, and their names."""
    texts = [label for label in found if isinstance(label, str)]
    numbers = [label for label in found if isinstance(label, int)]
    if texts and names is None:
        return in_order(texts), tuple(in_order(texts))
    if names is None:
        named = numbers == list(range(len(numbers)))
        return numbers, None if named else tuple(map(str, numbers))
    unknown = [label for label in texts if label not in names]
    if unknown:
        raise UserError(f"key y_train contains the label {unknown[0]}, which is not a class name")
    if texts:
        kept = [name for name in names if name in texts]
        return kept, tuple(kept)
    if numbers[0] >= 0 and numbers[-1] < len(names):
        return numbers, tuple(names[number] for number in numbers)
    if len(numbers) != len(names):
        raise UserError(
            f"key y_train contains the label {numbers[-1] if numbers[0] >= 0 else numbers[0]}; "
            f"there are {len(names)} names"
        )
    return numbers, tuple(names)
