"""The method `auto`: the best measured one for the number of images that fit."""

from __future__ import annotations

from dataclasses import fields

from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.methods.registry import METHODS
from condense.storage.capacity import images_per_class

FEW = 200
"""Images per class up to which DM is chosen. On held-out images of CIFAR-10 it was better than
herding with 50 and 158 images per class, and not with 535 (docs/results.md)."""


def select_method(data: ImageData, settings: MethodSettings) -> tuple[str, MethodSettings]:
    """Name and settings of the method: `dm` for few images per class, else `herding`.

    Args:
        data: the images.
        settings: those that all methods have; the others are of the cpu preset.

    Raises:
        UserError: not one image fits into the bytes.
    """
    name = "dm" if images_per_class(data, settings) <= FEW else "herding"
    common = {field.name: getattr(settings, field.name) for field in fields(MethodSettings)}
    return name, METHODS[name].preset("cpu", **common)
