"""What architectures are trained on in place of the whole set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense import Cache, CondensedSet, ImageData, Journal, condense, generator
from nas.settings import UNCONDENSED, Training


@dataclass(frozen=True, eq=False)
class Proxy:
    """Images to train on, on the device; `prepare` makes of a batch what networks take.

    `images` is None where nothing is trained.
    """

    images: Tensor | None = None
    labels: Tensor | None = None
    prepare: Callable[[Tensor], Tensor] | None = None
    stored: int = 0
    """Images that have to be kept for it."""
    draws: str = "proxy"
    """What weights, order and augmentation are drawn from. The truth has draws of its own, or else
    a proxy would know which networks will be lucky."""


def proxy_set(
    name: str,
    data: ImageData,
    condensing: Any,
    seed: int,
    journal: Journal | None = None,
    cache: Cache | None = None,
) -> CondensedSet | None:
    """The set that proxy `name` trains on: from its file, from the cache, or made.

    None for proxies that need none.

    Raises:
        UserError: the file is none, or its set is for other images or classes.
    """
    if name in UNCONDENSED:
        return None
    if condensing is not None:
        return condense(data, name, condensing, seed=seed, journal=journal, cache=cache)
    found = CondensedSet.load(Path(name))
    found.check_fits(data)
    return found


def make_proxy(
    name: str, data: ImageData, condensed: CondensedSet | None, training: Training, seed: int
) -> Proxy:
    """Proxy `name`, ready to train on.

    Learning rates that were learnt with a set (DD) do not count: on it, too, all architectures are
    trained as `training` says.

    Args:
        name: as in `PROXIES`, or a path.
        data: the images that it stands for; its device is the one that is trained on.
        condensed: from `proxy_set`.
        training: how architectures are trained on it.
        seed: draws the images, where `training` asks for some of them.
    """
    if name == "parameters":
        return Proxy()
    if condensed is not None:
        images = condensed.normalised(data).to(data.device)
        return Proxy(images, condensed.labels.to(data.device), None, len(images))
    images, labels = data.x_train, data.y_train
    if training.images is not None and training.images < len(images):
        order = torch.randperm(len(images), generator=generator(seed, "images"))
        rows = order[: training.images].to(data.device)
        images, labels = images[rows], labels[rows]
    stored = len(images)
    if training.updates is not None:
        stored = min(stored, training.updates * training.batch)
    draws = "architecture" if name == "whole" else Proxy.draws
    return Proxy(images, labels, data.normalise, stored, draws)
