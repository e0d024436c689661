"""Names that stand for another method, which depends on the images: `auto` and `whole`."""

from __future__ import annotations

from dataclasses import fields, replace

from condense.config.methods import Coreset, MethodSettings
from condense.data.image_data import ImageData
from condense.methods.registry import METHODS
from condense.methods.selection import large_classes
from condense.storage.capacity import images_per_class

FEW = {"idm": 600, "dm": 200}
"""Images per class up to which they are learnt: coloured ones by IDM, grey ones by DM.

On held-out images of CIFAR-10 IDM was better than DM and herding with 52 and 159 images per class,
and better than herding with 537. On FashionMNIST it was worse than both with 110, on MNIST level
with DM with 75. On SVHN it was better than both with 232 (docs/results.md)."""

MOST = 6000
"""Images in all up to which they are learnt: so many take ten minutes of a core with IDM."""


def few_or_many(data: ImageData, settings: MethodSettings) -> tuple[str, MethodSettings]:
    """`auto`: name and settings of `idm` or `dm` for few images per class, else of `herding`.

    Args:
        data: the images.
        settings: those that all methods have; the others are of the cpu preset.

    Raises:
        UserError: not one image fits into the bytes.
    """
    large = large_classes(data, settings.ipc)
    if settings.short_classes == "keep" and large:  # the others keep their real images
        data = data.with_classes(large)
    learnt = "dm" if data.shape[0] == 1 else "idm"
    count = images_per_class(data, settings)
    few = count <= FEW[learnt] and count * data.classes <= MOST
    name = learnt if few else "herding"
    common = {field.name: getattr(settings, field.name) for field in fields(MethodSettings)}
    return name, METHODS[name].preset("cpu", **common)


def whole_split(data: ImageData, settings: Coreset) -> tuple[str, Coreset]:
    """`whole`: as many random images as the largest class has, so all; smaller classes keep theirs.

    Args:
        data: the images.
        settings: how they are stored.
    """
    return "random", replace(settings, ipc=int(data.y_train.bincount().max()))
