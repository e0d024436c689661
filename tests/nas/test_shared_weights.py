"""Functions that do not build a new network each time."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable

import pytest
import torch
from torch import nn

from condense import ImageData, UserError
from nas import Space, Training, make_proxy
from nas.cost import cost
from nas.objective import train_architecture

BRIEF = Training(steps=2, batch_size=30, networks=2)


def mlp(body: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Flatten(), body or nn.Linear(64, 64), nn.Linear(64, 3))


def one_module() -> Callable[..., nn.Module]:
    network = mlp()
    return lambda *_: network


def one_of_each_value() -> Callable[..., nn.Module]:
    return functools.cache(lambda *_: mlp())


def one_module_within_others() -> Callable[..., nn.Module]:
    body = nn.Linear(64, 64)
    return lambda *_: mlp(body)


def one_tensor_in_others() -> Callable[..., nn.Module]:
    weight = torch.zeros(64, 64)

    def build(*_: object) -> nn.Module:
        body = nn.Linear(64, 64)
        body.weight = nn.Parameter(weight)
        return mlp(body)

    return build


def one_of_torchscript() -> Callable[..., nn.Module]:
    return functools.cache(lambda *_: torch.jit.script(mlp()))


@pytest.mark.parametrize("estimated", [False, True])
@pytest.mark.parametrize(
    "kind",
    [
        one_module,
        one_of_each_value,
        one_module_within_others,
        one_tensor_in_others,
        one_of_torchscript,
    ],
)
def test_they_are_refused(
    data: ImageData, kind: Callable[[], Callable[..., nn.Module]], estimated: bool
) -> None:
    """The second network would be trained from the trained weights of the first."""
    space, proxy = Space([5], build=kind()), make_proxy("whole", data, None, BRIEF, 0)
    if estimated:
        cost(space, 0, data)  # builds them too
    with pytest.raises(UserError, match=r"build must return a new network each time: .* of 5 are"):
        train_architecture(space, 0, proxy, data, BRIEF, 0)


def test_what_is_not_trained_may_be_shared(data: ImageData) -> None:
    frozen, first = nn.Linear(64, 64).requires_grad_(False), mlp()
    kinds = {"frozen": lambda: mlp(frozen), "copied": lambda: copy.deepcopy(first)}
    space = Space(list(kinds), build=lambda kind, *_: kinds[kind]())
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    for index in range(len(kinds)):
        assert train_architecture(space, index, proxy, data, BRIEF, 0).reason is None
