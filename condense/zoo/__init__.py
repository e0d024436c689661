"""Condensed sets to take away: DATASET-METHOD-IPC.safetensors, kept beside this file.

Each is what a run of `python -m condense run` left: the set's provenance says of which images, with
which settings and seed it was made, and what fresh networks reached that were trained on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from condense.cache import cache_key
from condense.condensed_set import CondensedSet
from condense.errors import unknown
from condense.methods import method_named
from condense.recorded import rebuild

TESTED = ("accuracy", "accuracy_std", "evaluation")
"""What a set's provenance says of its test: mean and standard deviation, and its settings."""

HERE = Path(__file__).parent


def zoo_names() -> list[str]:
    """The names of the sets that are here, `DATASET-METHOD-IPC`."""
    return sorted(path.stem for path in HERE.glob("*.safetensors"))


def load_condensed(dataset: str, method: str = "dsa", ipc: int = 10) -> CondensedSet:
    """A condensed set that comes with the package.

    Args:
        dataset: `mnist`, …; `python -m condense zoo` lists what there is.
        method: what it was condensed by.
        ipc: images per class.

    >>> load_condensed("mnist", ipc=1).images.shape
    torch.Size([10, 1, 28, 28])

    Raises:
        UserError: there is no such set.
    """
    return load_named(f"{dataset}-{method}-{ipc}")


def load_named(name: str) -> CondensedSet:
    """The same, by one of `zoo_names`.

    Raises:
        UserError: there is no such set.
    """
    if name not in zoo_names():
        raise unknown("condensed set", name, zoo_names())
    return CondensedSet.load(HERE / f"{name}.safetensors")


def find(key: str, method: str, ipc: int) -> CondensedSet | None:
    """The set of this cache key, just as condensing would make it; None where it is not here."""
    for path in sorted(HERE.glob(f"*-{method}-{ipc}.safetensors")):
        found = CondensedSet.load(path)
        if key_of(found) == key:
            # How well it did in tests is no part of a set that has just been made.
            about = found.provenance
            made = {name: about[name] for name in about if name not in TESTED}
            return replace(found, provenance=made)
    return None


def key_of(condensed: CondensedSet) -> str:
    """The cache key of what a set says that it was made from.

    Settings that there were not yet when it was made have their defaults.
    """
    about = condensed.provenance
    like = method_named(about["method"]).preset("paper")
    path = HERE / f"{about['dataset']}-{about['method']}-{about['ipc']}"
    settings = rebuild(like, about["settings"], path)
    return cache_key(about["fingerprint"], about["method"], settings, about["seed"])
