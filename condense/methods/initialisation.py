"""The initial synthetic images: real ones, noise, or those of another set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields

import torch
from torch import Tensor

from condense.config.methods import Coreset, LearnedImages, MethodSettings, OptimisedImages
from condense.data.image_data import ImageData
from condense.data.labels import listed
from condense.foreign_sets import load_set
from condense.methods.selection import herd, repeated, require_images, select_randomly
from condense.runs.checkpointer import Checkpointer
from condense.runs.paths import user_path
from condense.seeds import generator
from condense.storage.capacity import images_per_class
from condense.system.memory import check_memory
from condense.system.notes import note


def initial_images(
    data: ImageData,
    settings: LearnedImages,
    seed: int,
    checkpointer: Checkpointer | None = None,
) -> Tensor:
    """The initial synthetic images, [classes, n, c, h, w], normalised.

    n is `images_per_class`. Images of a class with fewer real images are repeated, which a note
    says if they stay equal. The checkpointer receives the progress of the training of the network
    of herding.

    Raises:
        UserError: a class has fewer than `settings.ipc` images to initialise from, the set to
            initialise from is not one of such images, or the images exceed the memory.
    """
    draws, count = generator(seed, "init"), images_per_class(data, settings)
    # Images, momentum, gradient and a copy for the checkpoint, 4 bytes per number each.
    numbers = data.classes * count * math.prod(data.shape)
    check_memory(16 * numbers, f"{settings.ipc} images per class are too many: learning them")
    size = (data.classes, count, *data.shape)
    if settings.init == "noise":
        return torch.randn(size, generator=draws).to(data.device)
    if settings.reads_files:
        return images_of_set(data, settings, count)
    require_images(data, settings.ipc)
    _note_copies(data, settings, data.train_counts.tolist(), count)
    if settings.init == "herding":
        shared = {item.name: getattr(settings, item.name) for item in fields(MethodSettings)}
        like = Coreset(**shared, steps=settings.herding_steps)
        rows = herd(data, like, count, seed, checkpointer)
    else:
        rows = select_randomly(data, count, seed)
    return data.normalise(data.x_train[rows]).view(size)


def images_of_set(data: ImageData, settings: LearnedImages, count: int) -> Tensor:
    """The first `count` images of each class of the set `settings.init`, [classes, count, c, h, w],
    normalised; repeated if there are fewer.

    Raises:
        UserError: the file is not a condensed set of images like these.
    """
    given = load_set(user_path(settings.init, "--init"), data)
    given.check_fits(data)
    classes = [(given.hard_labels == label).nonzero()[:, 0] for label in range(given.classes)]
    _note_copies(data, settings, list(map(len, classes)), count)
    chosen = torch.stack([repeated(rows, count) for rows in classes])
    return given.normalised(data)[chosen].to(data.device)


def _note_copies(
    data: ImageData, settings: LearnedImages, given: Sequence[int], count: int
) -> None:
    """Say so if copies stay equal: all images of a class are in each step, with one augmentation.

    Args:
        data: names the classes.
        settings: of the method.
        given: number of initial images of each class.
        count: number of images that are learnt of each class.
    """
    sampled = isinstance(settings, OptimisedImages) and settings.batch_syn
    independent = getattr(settings, "augment_synthetic", None) == "independent"
    short = [name for name, n in zip(data.class_names, given, strict=True) if n < count]
    if short and not sampled and not independent:
        note(
            f"{listed(short)}: {min(given)} images or more for {count}, the others are copies that "
            "stay equal; --batch-syn lets them differ"
        )


def images_like(data: ImageData, settings: LearnedImages) -> Tensor:
    """A tensor with shape, dtype and device of the synthetic images, without their memory."""
    blank = torch.empty((), device=data.device)
    return blank.expand(data.classes, images_per_class(data, settings), *data.shape)
