"""Names that stand for another method, which depends on the images: `auto` and `whole`."""

from __future__ import annotations

import math
from dataclasses import fields, replace

from condense.config.methods import Coreset, MethodSettings
from condense.data.image_data import ImageData
from condense.methods.registry import METHODS
from condense.methods.selection import without_short_classes
from condense.storage.capacity import images_per_class

MAX_PER_CLASS = 200
"""Images per class up to which they are synthetic: coloured ones by IDM, grey ones by DM.

On held-out images of CIFAR-10, with hard labels, IDM was 11 points better than herding with 52
images per class, 6 with 159 and 1.8 with 537. With 537 it takes ten times as long as herding,
and is level with it with soft labels. On SVHN it was better than herding and DM with 232. On
FashionMNIST, with a shorter training of its networks, it was worse than both with 110
(docs/results.md)."""

MAX_PIXELS = 6_000_000
"""Pixels in all up to which they are synthetic; more would take long."""


def few_or_many(data: ImageData, settings: MethodSettings) -> tuple[str, MethodSettings]:
    """`auto`: name and settings of `idm` or `dm` for few images per class, else of `herding`.

    Args:
        data: the images.
        settings: those that all methods have; the others are of the cpu preset.

    Raises:
        UserError: not one image fits into the bytes.
    """
    data = without_short_classes(data, settings)
    synthetic = "dm" if data.shape[0] == 1 else "idm"
    count = images_per_class(data, settings)
    pixels = count * data.classes * math.prod(data.shape[1:])
    few = count <= MAX_PER_CLASS and pixels <= MAX_PIXELS
    name = synthetic if few else "herding"
    common = {field.name: getattr(settings, field.name) for field in fields(MethodSettings)}
    return name, METHODS[name].preset("cpu", **common)


def whole_split(data: ImageData, settings: Coreset) -> tuple[str, Coreset]:
    """`whole`: as many random images as the largest class has, so all; smaller classes keep theirs.

    Args:
        data: the images.
        settings: how they are stored.
    """
    return "random", replace(settings, ipc=int(data.train_counts.max()))
