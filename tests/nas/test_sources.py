"""What counts as the same function that builds networks."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from nas.sources import source_of
from tests.helpers.processes import python


def plain(*_: object) -> nn.Module:
    return nn.Identity()


def other(*_: object) -> nn.Module:
    return nn.Identity()


def enclosed(width: object) -> Callable[..., nn.Module]:
    def build(*_: object) -> nn.Module:
        return nn.Linear(int(str(width)), 1)

    return build


class Builder:
    def __init__(self, width: int) -> None:
        self.width = width

    def __call__(self, *_: object) -> nn.Module:
        return nn.Identity()

    def build(self, *_: object) -> nn.Module:
        return nn.Identity()


def recursive() -> Callable[..., Any]:
    def build(*_: object) -> Any:
        return build

    return build


def decorated(width: int) -> Callable[..., nn.Module]:
    @functools.lru_cache
    @functools.wraps(plain)
    def build(*_: object) -> nn.Module:
        return nn.Linear(width, 1)

    return build


def with_default(*_: object, width: int = 3) -> nn.Module:
    return nn.Linear(width, 1)


KINDS: dict[str, Callable[[], Any]] = {
    "a function": lambda: plain,
    "another function": lambda: other,
    "a default": lambda: with_default,
    "an argument": lambda: partial(plain, 1),
    "another argument": lambda: partial(plain, 2),
    "an argument by name": lambda: partial(plain, width=1),
    "an argument of another function": lambda: partial(other, 1),
    "a variable around it": lambda: enclosed(1),
    "another variable around it": lambda: enclosed("1"),
    "a function around it": lambda: enclosed(plain),
    "another function around it": lambda: enclosed(math.sin),
    "a list around it": lambda: enclosed([1, {"a": {2, 3}}]),
    "an object": lambda: Builder(1),
    "another object": lambda: Builder(2),
    "a method": lambda: Builder(1).build,
    "a method of another object": lambda: Builder(2).build,
    "a class": lambda: Builder,
    "a recursive function": recursive,
    "a decorated function": lambda: decorated(3),
    "a function without a file": lambda: print,
    "a lambda": lambda: lambda *_: nn.Identity(),
    "a lambda in another line": lambda: lambda *_: nn.Identity(),
}


def test_all_kinds_are_told_apart_and_equal_ones_are_equal() -> None:
    hashes = {name: source_of(make()) for name, make in KINDS.items()}
    assert len(set(hashes.values())) == len(KINDS)
    assert {name: source_of(make()) for name, make in KINDS.items()} == hashes


@pytest.mark.parametrize("value", [torch.zeros(2), object(), nn.Linear(2, 2), math])
def test_a_value_without_a_description_counts_by_its_class(value: object) -> None:
    found = source_of(enclosed(value))
    assert found != source_of(enclosed(None))
    assert " at 0x" not in found


def test_the_source_is_the_same_in_every_process() -> None:
    code = "from tests.nas.test_sources import *; print(*(source_of(f()) for f in KINDS.values()))"
    assert python(code).stdout.split() == [source_of(make()) for make in KINDS.values()]
