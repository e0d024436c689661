"""The architectures to choose from: small values with an index and a name.

A network is built when it is trained, never before, so a space costs nothing.
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
from nas.paths import check_text

if TYPE_CHECKING:
    from torch import nn

MOST = 100_000
"""Architectures of a space: one that never ends is a mistake."""
Scalar = str | int | float | bool
NETWORKS = "layer norm by element"
"""Part of every space's fingerprint: change it where a name comes to mean another network, so that
no search goes on with what the old ones reached."""

Build = Callable[[Any, tuple[int, int, int], int], "nn.Module"]
"""(value, image shape (c, h, w), classes) -> a network that gives logits [n, classes]."""


@dataclass(frozen=True)
class Space:
    """Architectures, each known by its place and its name.

    Attributes:
        architectures: `condense.Network` values, or any values that `build` understands; the name
            of one is its `str`.
        build: makes a network of one; not needed for `condense.Network`.

    >>> Space([Network(depth=1), Network(architecture="vgg11")]).names
    ('d1-w128-relu-instance-avg', 'vgg11')

    Raises:
        UserError: there are none, two have one name, or nobody knows how to build one.
    """

    architectures: Sequence[Any]
    build: Build | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "architectures", tuple(self.architectures))
        if not self.architectures:
            raise UserError("a space needs at least one architecture")
        twice = [name for name, times in Counter(self.names).items() if times > 1]
        if twice:
            raise UserError(f"a space names its architectures apart; twice: {min(twice)}")
        for value, name in zip(self.architectures, self.names, strict=True):
            if self.build is None and not isinstance(value, Network):
                raise UserError(
                    f"{value!r} is no condense.Network: give the space a function "
                    "`build` that makes networks of its values"
                )
            check_text("an architecture", name)

    def __len__(self) -> int:
        return len(self.architectures)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The architectures' names, by index."""
        return tuple(str(value) for value in self.architectures)

    @cached_property
    def factors(self) -> dict[str, tuple[Scalar, ...]]:
        """What the architectures differ in: by factor, the level of each.

        Those are the fields of dataclasses; values of another kind have their name alone.
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
        """SHA-256 (hex) of the names, and of what they stand for."""
        return hashlib.sha256("\n".join([NETWORKS, *self.names]).encode()).hexdigest()

    def order(self) -> list[int]:
        """All indices in an order whose every beginning is a stratified sample.

        It is the same in every run, whatever its seed, so that runs on samples can be compared.
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
    """`convnets`, or the space `NAME` of one's own `MODULE`, written MODULE:NAME.

    That is a `Space`, an iterable of `condense.Network`, or a function that gives either.

    Raises:
        UserError: there is no such thing.
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
    except (Exception, SystemExit) as error:  # code of the user's own may raise anything
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
    """What went wrong, and in which line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, ImportError | AttributeError):
        return str(error)
    where = "" if "importlib" in place.filename else f" ({place.filename}:{place.lineno})"
    return f"{type(error).__name__}: {error}{where}"


def stratified_order(factors: Sequence[Sequence[Scalar]]) -> list[int]:
    """All indices, in an order in which every beginning has the levels as evenly as can be.

    At each place comes the one whose levels have come least until then; among equals, the one
    whose pairs of levels have; among those, one at random.

    Args:
        factors: of each factor, the level of every index.
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
        # A level of many counts for more: each of them has its turn less often.
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
