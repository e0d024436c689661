"""From images to a condensed set, by the name of a method."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

from condense.cache import Cache, cache_key
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.errors import UserError
from condense.files import plain
from condense.journal import Journal
from condense.methods import method_named
from condense.presets import preset_for
from condense.run_folder import version
from condense.zoo import find


def condense(
    data: ImageData,
    method: str = "dsa",
    settings: Any = None,
    *,
    preset: str = "auto",
    seed: int = 0,
    journal: Journal | None = None,
    cache: Cache | None = None,
    **changes: Any,
) -> CondensedSet:
    """Condense the training split of `data`.

    Args:
        data: the images; its device is the one that is computed on.
        method: a name in `METHODS`, which `python -m condense methods` lists.
        settings: the method's dataclass, in place of a preset and changes.
        preset: paper, cpu or smoke; auto is the paper's where `data` is on a GPU, else cpu.
        seed: all that is random follows from it.
        journal: told of progress; an interrupted condensation goes on from it.
        cache: where the set is looked up first, after the zoo, and kept once made; where not
            given, it is made.
        changes: single settings on top of the preset: `ipc=1, outer=100`.

    >>> small = condense(load("digits"), "random", ipc=2)
    >>> small.images.shape
    torch.Size([20, 1, 8, 8])

    Raises:
        UserError: for an unknown method or setting, a class with too few images, or learning that
            diverges.
    """
    entry = method_named(method)
    if settings is not None and changes:
        raise UserError("give a method's settings whole or single ones, not both")
    if settings is None:
        settings = entry.preset(preset_for(data.device.type, preset), **changes)
    entry.check(settings)

    def make(journal: Journal) -> CondensedSet:
        made: CondensedSet = entry.implementation()(data, settings, seed, journal)
        if not bool(made.images.isfinite().all()):
            raise UserError("it diverged: images are not finite; take lower learning rates")
        return made.with_provenance(
            fingerprint=data.fingerprint(),
            method=method,
            ipc=settings.ipc,
            network=str(settings.network),
            seed=seed,
            settings=plain(dataclasses.asdict(settings)),
            version=version(),
        )

    if cache is None:
        made = make(journal or Journal())
    else:
        key = cache_key(data.fingerprint(), method, settings, seed)
        ready = find(key, method, settings.ipc)
        cache.hits += ready is not None
        made = ready or cache.obtain(
            key, load=CondensedSet.load, make=make, save=CondensedSet.save, journal=journal
        )
    # Cache and zoo know images by their content; what things are called here is said afterwards.
    return replace(made.with_provenance(dataset=data.name), class_names=data.class_names)
