"""Names that stand for another method, which depends on the images: `auto` and `whole`."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from condense.config.methods import Coreset, MethodSettings
from condense.data.image_data import ImageData
from condense.methods.registry import METHODS
from condense.methods.selection import without_short_classes
from condense.storage.capacity import images_per_class

MAX_COLOURED, MAX_GREY = 200, 50
"""Images per class, coloured and grey, up to which they are synthetic.

On held-out images of CIFAR-10, with hard labels, IDM was 11 points better than herding with 52
images per class, 6 with 159 and 1.8 with 537. With 537 it takes ten times as long as herding,
and is level with it with soft labels. On SVHN it was 2 points better with 232. On grey images it
was 1 to 2 points better with up to 32 images per class, but no method was better than herding with
74 of MNIST and 108 of FashionMNIST. DM was nowhere better than both (docs/choices.md)."""

MAX_PIXELS = 6_000_000
"""Pixels in all up to which they are synthetic; more would take long."""


def few_or_many(data: ImageData, settings: MethodSettings) -> tuple[str, MethodSettings]:
    """`auto`: name and settings of `idm` for few images per class, else of `herding`.

    Args:
        data: the images.
        settings: those that all methods have; the others are of the cpu preset.

    Raises:
        UserError: not one image fits into the bytes.
    """
    data = without_short_classes(data, settings)
    most = MAX_GREY if data.shape[0] == 1 else MAX_COLOURED
    count = images_per_class(data, settings)
    pixels = count * data.classes * math.prod(data.shape[1:])
    name = "idm" if count <= most and pixels <= MAX_PIXELS else "herding"
    common = {field.name: getattr(settings, field.name) for field in fields(MethodSettings)}
    return name, METHODS[name].preset("cpu", **common)


def whole_split(data: ImageData, settings: Coreset) -> tuple[str, Coreset]:
    """`whole`: as many random images as the largest class has, so all; smaller classes keep theirs.

    Args:
        data: the images.
        settings: how they are stored.
    """
    return "random", replace(settings, ipc=int(data.train_counts.max()))
