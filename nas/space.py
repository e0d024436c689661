"""Search spaces: architectures as small values with an index and a name.

A network is built only when it is trained, so a space needs almost no memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice, product
from typing import TYPE_CHECKING, Any

from condense import Network, UserError
from condense.runs.io import check_text

if TYPE_CHECKING:
    from torch import nn

MOST = 100_000
"""Largest number of architectures in a space; a longer iterable is treated as endless."""
Scalar = str | int | float | bool
NETWORKS = "layer norm by element"
"""Part of every space's fingerprint. Change it when a name stands for a different network, so that
no search resumes with results of the old one."""

Build = Callable[[Any, tuple[int, int, int], int], "nn.Module"]
"""(value, image shape (c, h, w), classes) -> a network that returns logits [n, classes]."""


@dataclass(frozen=True)
class Space:
    """Architectures, each with an index and a name.

    Attributes:
        architectures: `condense.Network` values, or any values that `build` accepts; the name of a
            value is its `str`.
        build: builds a network from a value; not needed for `condense.Network`.

    >>> from condense import Network
    >>> from nas import Space
    >>> Space([Network(depth=1), Network(architecture="vgg11")]).names
    ('d1-w128-relu-instance-avg', 'vgg11')

    Raises:
        UserError: the space is empty, two names are equal, or `build` is missing.
    """

    architectures: Sequence[Any]
    build: Build | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "architectures", tuple(self.architectures))
        if not self.architectures:
            raise UserError("a space needs at least one architecture")
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
            found = {
                name: column if _are_scalars(column) else tuple(map(str, column))
                for name, column in columns.items()
                if len(set(map(str, column))) > 1
            }
            if found:
                return found
        return {"architecture": self.names}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of `NETWORKS` and the names."""
        return hashlib.sha256("\n".join([NETWORKS, *self.names]).encode()).hexdigest()

    def order(self) -> list[int]:
        """All indices in an order in which every prefix is a stratified sample.

        The order does not depend on the run's seed, so runs on samples can be compared.
        """
        return stratified_order(list(self.factors.values()))


def _are_scalars(column: Iterable[Any]) -> bool:
    return all(isinstance(value, str | int | float | bool) for value in column)


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
    """`convnets`, or a user-defined space, written MODULE:NAME.

    NAME is a `Space`, an iterable of `condense.Network`, or a function that returns either.

    Raises:
        UserError: there is no such space.
    """
    if name == "convnets":
        return convnets()
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        known = "convnets, or MODULE:NAME for one's own"
        raise UserError(f"unknown space {name!r}; known: {known}")
    try:
        return _own_space(module, attribute)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # user-defined code may raise anything
        raise UserError(f"no space {name}: {_said(error)}") from error


def _own_space(module: str, attribute: str) -> Space:
    found = getattr(importlib.import_module(module), attribute)
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


def _said(error: BaseException) -> str:
    """The error's message and its source line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ImportError | AttributeError):
        return str(error)
    where = "" if "importlib" in place.filename else f" ({place.filename}:{place.lineno})"
    return f"{type(error).__name__}: {error}{where}"


def stratified_order(factors: Sequence[Sequence[Scalar]]) -> list[int]:
    """All indices, in an order in which every prefix has all levels as evenly as possible.

    Each step takes the index whose levels occurred least so far. Ties are broken by its pairs of
    levels, then at random.

    Args:
        factors: for each factor, the level of every index.
    """
    import numpy as np

    from condense import generator

    columns = [np.unique(np.array(factor), return_inverse=True)[1] for factor in factors]
    pairs = [a * (b.max() + 1) + b for a, b in combinations(columns, 2)]
    count = len(columns[0])
    random = np.random.default_rng(generator(0, "stratified order").initial_seed())
    tie_break = random.permutation(count)
    seen = [[np.zeros(c.max() + 1, np.int64) for c in group] for group in (columns, pairs)]
    left = np.ones(count, bool)
    order: list[int] = []
    for _ in range(count):
        # Weighted by the number of levels: with more levels, each one is due less often.
        single, paired = (
            sum((len(n) * n[c] for c, n in zip(group, counts, strict=True)), np.zeros(count))
            for group, counts in zip((columns, pairs), seen, strict=True)
        )
        ranked = np.lexsort((tie_break, paired, single, ~left))
        chosen = int(ranked[0])
        order.append(chosen)
        left[chosen] = False
        for group, counts in zip((columns, pairs), seen, strict=True):
            for column, n in zip(group, counts, strict=True):
                n[column[chosen]] += 1
    return order
