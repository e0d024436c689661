"""Classes with fewer training images than the images per class of a set."""

from __future__ import annotations

from collections.abc import Callable

import torch

from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.selection import require_images
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
    counts = data.y_train.bincount(minlength=data.classes)
    short = counts < settings.ipc
    if not short.any():
        return condense(data)
    require_images(data, 1)
    advice = f"use fewer images per class (--ipc {int(counts.min())})"
    if settings.short_classes == "refuse":
        advice += ", or --short-classes keep, then such classes keep their real images"
    if settings.short_classes == "refuse" or short.all():
        require_images(data, settings.ipc, advice)
    if settings.reads_files:
        raise UserError(
            "short-classes keep condenses the large classes alone, to which the set of --init does "
            "not fit: use another --init"
        )
    large = (~short).nonzero()[:, 0]
    made = condense(data.with_classes(large.tolist()))
    return _joined(made, large, data, short[data.y_train])


def _joined(
    made: CondensedSet, large: torch.Tensor, data: ImageData, kept: torch.Tensor
) -> CondensedSet:
    """The images of the set and these rows of the training images, stored alike, by class."""
    labels = torch.cat([large.cpu()[made.labels], data.y_train[kept].cpu()])
    order = labels.argsort(stable=True)
    real = data.x_train[kept].cpu()
    if made.stored is None:
        images = torch.cat([made.images, real.float() / 255])[order]
        return CondensedSet(images, labels[order], data.mean, data.std, data.class_names)
    codec = read_codec(made.stored.metadata, made.stored.tensors, made.mean, made.std)
    learnt, stored = codec.unpack(made.stored.tensors), codec.encode(data.normalise(real))
    planes = [torch.cat(pair)[order] for pair in zip(learnt, stored, strict=True)]
    return CondensedSet.from_stored(StoredImages.of(codec, planes), labels[order], data)
