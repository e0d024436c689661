"""The keyword arguments of the buffers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Literal, TypedDict

from condense import UserError
from continual.settings import Storage


class ImageKwargs(TypedDict, total=False):
    """What a buffer knows of the images, unless the experiences are of `make_benchmark`, which have
    it themselves."""

    mean: Sequence[float]
    """Per channel, the mean of the normalisation; default: none."""
    std: Sequence[float]
    """As `mean`."""
    hflip: bool
    """Whether a flipped image keeps its class (False for digits). Default: True."""


class BufferKwargs(ImageKwargs, total=False):
    """Arguments of `RehearsalBuffer` beside the size in total."""

    images_per_class: int | None
    storage: Storage
    factor: int
    balance: Literal["class", "experience"]
    store_logits: bool
    seed: int


def check_known(owner: str, images: ImageKwargs) -> None:
    """Raise TypeError if `images` has another argument, as Python does of named ones."""
    if others := images.keys() - ImageKwargs.__annotations__.keys():
        raise TypeError(f"{owner} has no argument {min(others)!r}")


def checked_size(max_size: int, images_per_class: int | None) -> tuple[int, int | None]:
    """The two sizes of a buffer, of which one is given.

    Raises:
        UserError: not exactly one is given, or it is below 1.
        TypeError: it is no integer.
    """
    max_size = operator.index(max_size)
    if images_per_class is None:
        if max_size < 1:
            raise UserError("give the buffer a size: max_size (in total) or images_per_class")
        return max_size, None
    images_per_class = operator.index(images_per_class)
    if max_size:
        raise UserError("give the buffer either max_size or images_per_class, not both")
    if images_per_class < 1:
        raise UserError(f"images per class must be at least 1, not {images_per_class}")
    return max_size, images_per_class


def per_channel(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    """Numbers per channel as a tuple; UserError if they are not a sequence of numbers."""
    if values is None:
        return None
    try:
        return tuple(map(float, values))
    except (TypeError, ValueError):
        raise UserError(f"{name} must have one number per channel, not {values!r}") from None
