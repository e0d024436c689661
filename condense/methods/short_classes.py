"""Classes with fewer training images than the images per class of a set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.selection import large_classes, require_images, set_of_rows
from condense.storage.registry import read_codec
from condense.storage.stored import StoredImages


def with_short_classes(
    data: ImageData, settings: MethodSettings, condense: Callable[[ImageData], CondensedSet]
) -> CondensedSet:
    """The condensed set of `data`, in which short classes keep their real images if that is asked.

    Args:
        data: the training images.
        settings: of the method: images per class, and what happens to short classes.
        condense: makes the set of the classes that it is given.

    Raises:
        UserError: a class is short and may not be, or all are.
    """
    large = large_classes(data, settings.ipc)
    if len(large) == data.classes:
        return condense(data)
    advice = f"use fewer images per class (--ipc {int(data.train_counts.min())})"
    if settings.short_classes == "refuse" and _may_keep(settings):
        advice += ", or --short-classes keep, then such classes keep their real images"
    if settings.short_classes == "refuse" or not large:
        require_images(data, settings.ipc, advice)
    if settings.reads_files:
        raise UserError(
            "short-classes keep condenses the large classes alone, to which the set of --init does "
            "not fit: use another --init"
        )
    made = condense(data.with_classes(large))
    return _joined(made, torch.tensor(large), data, settings)


def _may_keep(settings: MethodSettings) -> bool:
    """Whether short classes can keep their images with the other settings as they are."""
    try:
        replace(settings, short_classes="keep")
    except UserError:
        return False
    return not settings.reads_files


def _joined(
    made: CondensedSet, large: torch.Tensor, data: ImageData, settings: MethodSettings
) -> CondensedSet:
    """The images of the set, whose classes are `large`, and the real ones of the others, stored
    alike, by class."""
    kept = ~torch.isin(data.y_train, large.to(data.device))
    labels = torch.cat([large[made.labels], data.y_train[kept].cpu()])
    order = labels.argsort(stable=True)
    if made.stored is None:
        own = set_of_rows(data, kept.nonzero()[:, 0], settings).images
        images = torch.cat([made.images, own])[order]
        return CondensedSet(images, labels[order], data.mean, data.std, data.class_names)
    codec = read_codec(made.stored.metadata, made.stored.tensors, made.mean, made.std)
    real = codec.encode(data.normalise(data.x_train[kept].cpu()))
    learnt = codec.unpack(made.stored.tensors)
    planes = [torch.cat(pair)[order] for pair in zip(learnt, real, strict=True)]
    return CondensedSet.from_stored(StoredImages.of(codec, planes), labels[order], data)
