"""Search spaces: architectures as small values with an index and a name.

A network is built only when it is trained, so a space needs almost no memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, islice, product
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from condense import Network, UserError
from condense.runs.io import check_text, is_file
from condense.runs.paths import user_path
from nas.sources import source_of
from nas.summary import is_line

if TYPE_CHECKING:
    from torch import nn

MOST = 100_000
"""Largest number of architectures in a space; a longer iterable is treated as endless."""
Scalar = str | int | float | bool
NETWORKS = "names of VGG-11 and ResNet-18 have the norm"
"""Part of every space's fingerprint. Change it when a name stands for a different network, so that
no search resumes with results of the old one."""

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""In the `str` of an object that has none of its own."""

Build = Callable[[Any, tuple[int, int, int], int], "nn.Module"]
"""(value, image shape (c, h, w), classes) -> a network that returns logits [n, classes]."""


@dataclass(frozen=True)
class Space:
    """Architectures, each with an index and a name.

    Attributes:
        architectures: `condense.Network` values, or any values that `build` accepts; the name of a
            value is its `str`.
        build: builds a network from a value; not needed for `condense.Network`. It must return a
            new network each time: every one is trained from its initial weights.
        version: names what `build` builds. Change it when `build` builds other networks, so that
            no search goes on with their results. By default a hash of the source file of `build`,
            so that every change of that file counts, and of its name and arguments there.

    >>> from condense import Network
    >>> from nas import Space
    >>> Space([Network(depth=1), Network(architecture="vgg11")]).names
    ('d1-w128-relu-instance-avg', 'vgg11')

    Raises:
        UserError: the space is empty, two names are equal, one has several lines or is a memory
            address, or `build` is missing or no function.
    """

    architectures: Sequence[Any]
    build: Build | None = None
    version: str | None = None
    _built: str = field(default="", init=False, repr=False, compare=False)
    """The version or source of `build` when the space was made; `build` may remember its calls."""
    _order: list[int] = field(default_factory=list, init=False, repr=False, compare=False)
    """As much of `order` as was asked for: in a large space it takes long."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "architectures", tuple(self.architectures))
        if not self.architectures:
            raise UserError("a space needs at least one architecture")
        if self.build is not None and not callable(self.build):
            raise UserError(f"build must be a function, not {self.build!r}")
        if not isinstance(self.version, str | None):
            raise UserError(f"version must be a text, not {self.version!r}")
        if self.build is not None:
            object.__setattr__(self, "_built", self.version or source_of(self.build))
        twice = [name for name, times in Counter(self.names).items() if times > 1]
        if twice:
            raise UserError(
                f"the names of the architectures must be different; twice: {min(twice)}"
            )
        for value, name in zip(self.architectures, self.names, strict=True):
            if self.build is None and not isinstance(value, Network):
                raise UserError(
                    f"{value!r} is not a condense.Network: give the space a function "
                    "`build` that makes networks from its values"
                )
            check_text("an architecture", name)
            if not is_line(name):
                raise UserError(
                    f"the name of an architecture has several lines, {name.splitlines()[0]!r} is "
                    f"the first: give {type(value).__name__} a __str__ of one line, or use texts"
                )
            if _ADDRESS.search(name):
                raise UserError(
                    f"the name of an architecture is {name}, another one in every process: give "
                    f"{type(value).__name__} a __str__, or make it a dataclass"
                )

    def __len__(self) -> int:
        return len(self.architectures)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the architectures, by index."""
        return tuple(str(value) for value in self.architectures)

    @cached_property
    def factors(self) -> dict[str, tuple[Scalar, ...]]:
        """The factors in which the architectures differ: for each factor, the level of each index.

        The factors are the fields of dataclasses; other values have only their name as a factor.
        """
        kinds = {type(value) for value in self.architectures}
        if len(kinds) == 1 and dataclasses.is_dataclass(kind := kinds.pop()):
            columns = {
                field.name: tuple(getattr(value, field.name) for value in self.architectures)
                for field in dataclasses.fields(kind)
            }
            levels = {
                name: column if _are_scalars(column) else tuple(map(_without_address, column))
                for name, column in columns.items()
            }
            found = {
                name: column for name, column in levels.items() if len(set(map(str, column))) > 1
            }
            if found:
                return found
        return {"architecture": self.names}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of `NETWORKS`, the names, and the version of `build` if there is one."""
        return self._hash_with(self.names)

    @cached_property
    def build_fingerprint(self) -> str:
        """As `fingerprint`, without the names: if equal, equal names are equal networks."""
        return self._hash_with(())

    def _hash_with(self, names: Iterable[str]) -> str:
        built = [self._built] if self._built else []
        return hashlib.sha256("\n".join([NETWORKS, *names, *built]).encode()).hexdigest()

    def order(self, count: int | None = None) -> list[int]:
        """All indices in an order in which every prefix is a stratified sample.

        The order does not depend on the run's seed, so runs on samples can be compared.

        Args:
            count: only so many, the first of this order.
        """
        count = len(self) if count is None else min(count, len(self))
        if len(self._order) < count:
            self._order[:] = stratified_order(list(self.factors.values()), count)
        return self._order[:count]


def _are_scalars(column: Iterable[Any]) -> bool:
    return all(isinstance(value, str | int | float | bool) for value in column)


def _without_address(value: object) -> str:
    """A level as text, the same in every process."""
    return _ADDRESS.sub("", str(value))


def convnets() -> Space:
    """The 720 ConvNets of §4.6: depth × width × activation × norm × pooling."""
    levels = product(
        (1, 2, 3, 4),
        (32, 64, 128, 256),
        ("sigmoid", "relu", "leakyrelu"),
        ("none", "batch", "layer", "instance", "group"),
        ("none", "max", "avg"),
    )
    return Space(
        [
            Network(depth=depth, width=width, activation=activation, norm=norm, pooling=pooling)  # type: ignore[arg-type]
            for depth, width, activation, norm, pooling in levels
        ]
    )


def space_named(name: str) -> Space:
    """`convnets`, or a user-defined space, written MODULE:NAME or FILE.py:NAME.

    NAME is a `Space`, an iterable of `condense.Network`, or a function that returns either.

    Raises:
        UserError: there is no such space.
    """
    if name == "convnets":
        return convnets()
    module, colon, attribute = _split(name)
    if not (module and colon and attribute):
        known = "convnets, or MODULE:NAME or FILE.py:NAME for one's own"
        raise UserError(f"unknown space {name!r}; known: {known}")
    try:
        return _own_space(module, attribute)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # user-defined code may raise anything
        raise UserError(f"no space {name}: {_said(error)}") from error


def found_anywhere(name: str) -> str:
    """The name of a space with the absolute path of its file, so that any folder may resume."""
    module, colon, attribute = _split(name)
    if not module.endswith(".py"):
        return name
    return f"{user_path(Path(module), '--space').absolute()}{colon}{attribute}"


def _split(name: str) -> tuple[str, str, str]:
    return name.rpartition(":") if ".py:" in name else name.partition(":")


def _own_space(module: str, attribute: str) -> Space:
    found = getattr(_imported(module), attribute)
    if callable(found):
        found = found()
    if isinstance(found, Space):
        return found
    if not isinstance(found, Iterable):
        raise UserError(
            f"{module}:{attribute} is neither a nas.Space nor an iterable of condense.Network"
        )
    architectures = list(islice(found, MOST + 1))
    if len(architectures) > MOST:
        raise UserError(f"{module}:{attribute} has more than {MOST} architectures")
    return Space(architectures)


def _imported(module: str) -> ModuleType:
    """A module by name, or from its file; modules beside the file can be imported too."""
    if not module.endswith(".py"):
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it; an installed script has not
        return importlib.import_module(module)
    file = user_path(Path(module), "--space").absolute()
    if not is_file(file):
        raise UserError(f"no such file: {module}; --space is FILE.py:NAME or MODULE:NAME")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))  # at the end, so that its modules replace no others
    _require_own_name(file)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    found = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def _require_own_name(file: Path) -> None:
    """UserError if `import` of the file's name finds another module, here or in a worker."""
    try:
        found = importlib.util.find_spec(file.stem)
    except ModuleNotFoundError:  # a name with a dot, which nothing imports
        return
    if found is None or (found.origin and Path(found.origin).resolve() == file.resolve()):
        return
    where = found.origin or "a package"
    raise UserError(
        f"{file.name} cannot be imported, for there is another module {file.stem} ({where}): "
        "rename the file"
    )


def _said(error: BaseException) -> str:
    """The error's message and its source line, if it is the user's."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ImportError | AttributeError):
        return str(error)
    ours = "importlib" in place.filename or place.filename == __file__
    where = "" if ours else f" ({place.filename}:{place.lineno})"
    return f"{type(error).__name__}: {error}{where}"


def stratified_order(factors: Sequence[Sequence[Scalar]], count: int | None = None) -> list[int]:
    """All indices in an order in which every prefix has all levels as evenly as possible.

    Each step takes the index whose levels occurred least so far. Ties are broken by its pairs of
    levels, then at random.

    Args:
        factors: for each factor, the level of every index.
        count: only so many, the first of this order; the time is proportional to it.
    """

    from condense import generator

    # A level that only one index has never occurred before: such a factor decides nothing.
    columns = [np.unique(np.array(factor), return_inverse=True)[1] for factor in factors]
    columns = [column for column in columns if column.max() + 1 < len(column)]
    pairs = [a * (b.max() + 1) + b for a, b in combinations(columns, 2)]
    total = len(factors[0])
    random = np.random.default_rng(generator(0, "stratified order").initial_seed())
    by_tie_break = np.argsort(random.permutation(total))
    weighted = [[(c.max() + 1, _members(c[by_tie_break])) for c in g] for g in (columns, pairs)]
    # How often the levels of each index have occurred, and its pairs of levels.
    single, paired = occurred = np.zeros((2, total), np.int64)
    order: list[int] = []
    for _ in range(total if count is None else min(count, total)):
        least = np.flatnonzero(single == single.min())
        selected = int(least[paired[least].argmin()])
        order.append(int(by_tie_break[selected]))
        for totals, group in zip(occurred, weighted, strict=True):
            # Weighted by the number of levels: with more levels, each one is due less often.
            for levels, members in group:
                totals[members[selected]] += levels
        single[selected] = 2**62
    return order


def _members(column: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """For each position of a column, the positions with the same level."""
    _, level, counts = np.unique(column, return_inverse=True, return_counts=True)
    of_level = np.split(np.argsort(level, kind="stable"), counts.cumsum()[:-1])
    return [of_level[number] for number in level]
