"""Condensed sets in the package: DATASET-METHOD-IPC.safetensors, in this folder.

Each was made by `python -m condense run`. Its provenance contains the images, settings and seed,
and the accuracy of new networks trained on it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from condense.condensed_set import CondensedSet
from condense.config.serialization import rebuild
from condense.errors import UserError, unknown
from condense.methods.registry import method_named
from condense.runs.cache import cache_key
from condense.runs.io import is_file
from condense.runs.paths import exists
from condense.runs.run_dir import CONDENSED

TESTED = ("accuracy", "accuracy_std", "evaluation")
"""Provenance entries of the evaluation: mean, standard deviation, settings."""

HERE = Path(__file__).parent


def zoo_names() -> list[str]:
    """The names of the sets in the package, `DATASET-METHOD-IPC`."""
    return sorted(path.stem for path in HERE.glob("*.safetensors"))


def load_condensed(dataset: str, method: str = "dsa", ipc: int = 10) -> CondensedSet:
    """A condensed set of the package.

    Args:
        dataset: `mnist`, …; or the whole name of a set, as `python -m condense zoo` and `zoo_names`
            list it.
        method: the name of the method; not used with a whole name.
        ipc: images per class; not used with a whole name.

    >>> from condense import load_condensed
    >>> load_condensed("mnist", ipc=1).images.shape
    torch.Size([10, 1, 28, 28])
    >>> load_condensed("cifar10-idm-1")
    CondensedSet(cifar10, idm, 10 classes, 520 images 32×32 with 3 channels, 30610 bytes)

    Raises:
        UserError: there is no such set.
    """
    return load_named(dataset if dataset in zoo_names() else f"{dataset}-{method}-{ipc}")


def load_named(name: str) -> CondensedSet:
    """The set with a name of `zoo_names`.

    Raises:
        UserError: there is no such set.
    """
    if name not in zoo_names():
        raise unknown("condensed set", name, zoo_names())
    return CondensedSet.load(HERE / f"{name}.safetensors")


def file_of(path: Path) -> Path:
    """The file of a condensed set: `path` itself, or if that is a name of `zoo_names`, its file.

    Raises:
        UserError: there is no such file, and `path` looks like a name; or it is a folder.
    """
    name = str(path)
    if not exists(path):
        if name in zoo_names():
            return HERE / f"{name}.safetensors"
        if path.name == name and not path.suffix:
            raise unknown("condensed set", name, zoo_names())
    if path.is_dir():
        own = path / CONDENSED
        raise UserError(f"{path} is a folder: give {own if is_file(own) else 'the file of a set'}")
    return path


def name_of(path: Path) -> str:
    """What `file_of` finds the file by: the name of a set of the package, else the path itself."""
    return path.stem if path.parent == HERE else str(path)


def find(key: str, method: str, ipc: int) -> CondensedSet | None:
    """The set with this cache key, as condensing would return it; None if there is none."""
    for path in sorted(HERE.glob(f"*-{method}-{ipc}.safetensors")):
        found = CondensedSet.load(path)
        if key_of(found) == key:
            # A set that condensing returns has no evaluation yet.
            about = found.provenance
            made = {name: about[name] for name in about if name not in TESTED}
            return replace(found, provenance=made)
    return None


def key_of(condensed: CondensedSet) -> str:
    """The cache key of a set, computed from its provenance.

    Settings that did not exist when the set was made have their default values.
    """
    about = condensed.provenance
    like = method_named(about["method"]).preset("paper")
    path = HERE / f"{about['dataset']}-{about['method']}-{about['ipc']}"
    settings = rebuild(like, about["settings"], path)
    return cache_key(about["fingerprint"], about["method"], settings, about["seed"])
