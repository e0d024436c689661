"""Condensing a dataset with a method given by name."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from condense.condensed_set import CondensedSet
from condense.config.presets import given_or_preset, preset_for
from condense.data.image_data import ImageData
from condense.data.loading import as_image_data
from condense.distribution import version
from condense.errors import UserError
from condense.methods.registry import CHOOSERS, method_named
from condense.methods.selection import require_images
from condense.methods.short_classes import with_short_classes
from condense.methods.teacher import with_soft_labels
from condense.runs.cache import Cache, cache_key
from condense.runs.checkpointer import Checkpointer, OwnCheckpoints
from condense.runs.io import plain
from condense.system.allocator import freed_memory_kept
from condense.system.plain_torch import plain_torch
from condense.training.loop import batch_norm_explained
from condense.zoo import find


@freed_memory_kept()
@plain_torch()
def condense(
    data: ImageData | str | Path,
    method: str = "dsa",
    settings: Any = None,
    *,
    preset: str = "auto",
    seed: int = 0,
    checkpointer: Checkpointer | None = None,
    cache: Cache | None = None,
    **changes: Any,
) -> CondensedSet:
    """Condense the training split of `data`.

    Args:
        data: the images, or what `load` takes; the computation runs on their device.
        method: a name in `METHODS`; `python -m condense methods` lists them. auto is idm
            where few images fit into the bytes, else herding, with the settings of the cpu
            preset. whole keeps all training images.
        settings: the method's dataclass, instead of `preset` and `changes`.
        preset: paper, cpu or smoke; auto is paper if `data` is on a GPU, else cpu.
        seed: determines all random numbers.
        checkpointer: receives progress and checkpoints, such as a `Progress`.
        cache: the set is looked up in the zoo, then here, and stored here once made; an interrupted
            call resumes from a checkpoint here. Without a cache, or from a file as `init`, it is
            always made. Also for `load`.
        changes: single settings on top of the preset: `ipc=1, iterations=100`.

    >>> from condense import condense, load
    >>> small = condense(load("digits"), "random", ipc=2)
    >>> small.images.shape  # five of each class, in the bytes of two whole images
    torch.Size([50, 1, 8, 8])

    Raises:
        UserError: a method or setting is unknown, a class has too few images, or it diverges.
    """
    data = as_image_data(data, cache)
    entry = method_named(method)
    of_preset = partial(entry.preset, preset_for(data.device.type, preset))
    settings = given_or_preset(settings, of_preset, changes)
    entry.check(settings)
    if method in CHOOSERS:
        method, settings = entry.implementation()(data, settings)

    require_images(data, 1)  # before the cache, which knows the images only
    settings = replace(settings, network=settings.network.for_images(data.shape))
    if cache is None or settings.reads_files:
        made = _condense(data, method, settings, seed, cache, checkpointer or Checkpointer())
    else:
        made = _found_or_made(data, method, settings, seed, cache, checkpointer)
    # Cache and zoo identify images by content, so the names of this dataset are set afterwards.
    about = {"dataset": data.name} | ({"source": plain(data.source)} if data.source else {})
    return replace(made.with_provenance(**about), class_names=data.class_names)


def _found_or_made(
    data: ImageData,
    method: str,
    settings: Any,
    seed: int,
    cache: Cache,
    checkpointer: Checkpointer | None,
) -> CondensedSet:
    """The set from the zoo or the cache, which keeps it if it must be made."""
    key = cache_key(data.fingerprint(), method, settings, seed)
    ready = find(key, method, settings.ipc)
    cache.hits += ready is not None
    return ready or cache.obtain(
        key,
        load=CondensedSet.load,
        make=partial(_condense, data, method, settings, seed, cache),
        save=CondensedSet.save,
        checkpointer=checkpointer,
    )


def _condense(
    data: ImageData,
    method: str,
    settings: Any,
    seed: int,
    cache: Cache | None,
    checkpointer: Checkpointer,
) -> CondensedSet:
    """Run the method, and note in the set what it was made from.

    Raises:
        UserError: training diverges.
    """
    implementation = method_named(method).implementation()
    own = OwnCheckpoints(checkpointer, cache_key(data.fingerprint(), method, settings, seed))
    with batch_norm_explained():
        made = with_short_classes(
            data, settings, lambda some: implementation(some, settings, seed, own)
        )
    if not bool(made.images.isfinite().all()):
        raise UserError("diverged: the images are not finite; use lower learning rates")
    if settings.labels == "soft":
        made = with_soft_labels(made, data, settings, seed, cache, checkpointer)
    about = {
        "fingerprint": data.fingerprint(),
        "method": method,
        "ipc": settings.ipc,
        "network": str(settings.network),
        "seed": seed,
        "settings": dataclasses.asdict(settings),
        "version": version(),
    }
    return made.with_provenance(**plain(about))
