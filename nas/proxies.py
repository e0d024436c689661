"""Proxies: what architectures are trained on instead of the whole set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import (
    Cache,
    Checkpointer,
    CondensedSet,
    ImageData,
    UserError,
    condense,
    generator,
)
from condense.foreign_sets import load_set
from condense.validation import require_class
from condense.zoo import file_of
from nas.settings import UNCONDENSED, Training


@dataclass(frozen=True, eq=False)
class Proxy:
    """Training images, on the device; `prepare` converts a batch to the network's input.

    Attributes:
        images: [n, c, h, w]: float32, normalised, or uint8 with `prepare`; None if nothing is
            trained.
        labels: int64 [n], or float32 [n, classes] for soft labels.
    """

    images: Tensor | None = field(default=None, repr=False)
    labels: Tensor | None = field(default=None, repr=False)
    prepare: Callable[[Tensor], Tensor] | None = None
    stored: int = 0
    """Number of images to store for this proxy."""
    draws: str = "proxy"
    """Part of the seed of weights, order and augmentation. The ground truth has its own: with
    shared draws, lucky initial weights would correlate with the proxy's score."""


def proxy_set(
    name: str,
    data: ImageData,
    condensing: Any,
    seed: int,
    checkpointer: Checkpointer | None = None,
    cache: Cache | None = None,
) -> CondensedSet | None:
    """The condensed set of proxy `name`: from a file, the zoo or the cache, or condensed now.

    None for proxies without a condensed set.

    Raises:
        UserError: the file is not a condensed set, or its images or classes do not fit.
    """
    if name in UNCONDENSED:
        return None
    if condensing is not None:
        return condense(data, name, condensing, seed=seed, checkpointer=checkpointer, cache=cache)
    found = load_set(file_of(Path(name)), data)
    channels, height, width = found.shape
    if channels == data.shape[0] and height == width and (height, width) != data.shape[1:]:
        others = "×".join(map(str, data.shape[1:]))
        larger = height > max(data.shape[1:])  # --image-size enlarges no images
        where = " if the data set has such images" if larger else ""
        raise UserError(
            f"the images of {name} are {height}×{width}, those of the search are {others}: give "
            f"--image-size {height}{where}, or a set that was made from images of that size"
        )
    found.check_fits(data)
    return found


def make_proxy(
    name: str, data: ImageData, condensed: CondensedSet | None, training: Training, seed: int
) -> Proxy:
    """Proxy `name`, ready for training.

    Learning rates that were learned with a set (DD) are ignored: all architectures are trained
    with the settings in `training`.

    Args:
        name: as in `PROXIES`, or a condensed set.
        data: the whole set; its device is used for training.
        condensed: from `proxy_set`.
        training: the training settings.
        seed: of the random subset, if `training.images` is set.

    Raises:
        UserError: `training` is of another class, or a proxy with a condensed set lacks it.
    """
    require_class("training", training, Training)
    if name == "parameters":
        return Proxy()
    if condensed is None and name not in UNCONDENSED:
        raise UserError(f"the proxy {name} needs its condensed set: give that of `proxy_set`")
    if condensed is not None:
        images = condensed.normalised(data).to(data.device)
        return Proxy(images, condensed.targets.to(data.device), None, len(images))
    images, labels = data.x_train, data.y_train
    if training.images is not None and training.images < len(images):
        order = torch.randperm(len(images), generator=generator(seed, "images"))
        rows = order[: training.images].to(data.device)
        images, labels = images[rows], labels[rows]
    stored = len(images)
    if training.steps is not None:
        stored = min(stored, training.steps * training.batch_size)
    draws = "architecture" if name == "whole" else Proxy.draws
    return Proxy(images, labels, data.normalise, stored, draws)
