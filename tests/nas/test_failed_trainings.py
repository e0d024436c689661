"""Architectures that cannot be built, trained or tested: the reason, and no accuracy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from condense import ImageData, UserError
from nas import (
    Space,
    Training,
    make_proxy,
)
from nas.cost import PER_NETWORK, cost
from nas.objective import (
    sizes_of,
    train_architecture,
)
from tests.helpers.tiny_space import BRIEF, SPACE


def test_an_error_is_the_reason_of_the_result(data: ImageData) -> None:
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    small = train_architecture(SPACE, 1, proxy, data, BRIEF, 0)
    assert small.score is None
    assert small.reason is not None
    assert "too small for the network" in small.reason
    wild = train_architecture(
        SPACE, 0, proxy, data, Training(steps=30, lr=1e6, batch_size=30, augment=False), 0
    )
    assert wild.reason == "diverged: its weights are not finite"
    huge = Space(
        [10**7, 5], build=lambda n, s, c: nn.Sequential(nn.Flatten(), nn.Linear(64, n * n))
    )
    found = train_architecture(huge, 0, proxy, data, BRIEF, 0)
    assert found.reason is not None
    assert found.reason.startswith("out of memory: ")
    assert "\n" not in found.reason


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda logits: logits[:1], "its outputs have the shape [1, 3], not ["),
        (lambda logits: logits[:, :2], "its outputs have the shape ["),
        (lambda logits: logits * torch.nan, "its outputs for the test images are NaN"),
    ],
)
def test_outputs_that_are_broken_in_tests_alone_have_no_score(
    data: ImageData, broken: Any, reason: str
) -> None:
    class Broken(nn.Linear):
        def forward(self, images: Tensor) -> Tensor:
            logits = super().forward(images.flatten(1))
            return logits if self.training else broken(logits)

    proxy = make_proxy("whole", data, None, BRIEF, 0)
    space = Space(["broken"], build=lambda n, shape, classes: Broken(64, classes))
    found = train_architecture(space, 0, proxy, data, BRIEF, 0)
    assert found.score is None
    assert found.reason is not None
    assert found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (lambda logits: logits[:, :2], "its outputs have the shape [30, 2], not [30, 3 or more]"),
        (lambda logits: logits[:, :, None], "its outputs have the shape [30, 4, 1], not [30, 3 or"),
        (lambda logits: logits[0], "its outputs have the shape [4], not [30, 3 or more]"),
        (lambda logits: (logits, logits), "its output is no tensor but of the type tuple"),
        (lambda logits: logits, None),
    ],
    ids=["fewer", "spatial", "of one image", "several", "more"],
)
def test_outputs_that_do_not_fit_are_refused_before_a_label_has_none(
    data: ImageData, outputs: Any, reason: str | None
) -> None:
    """On a GPU such a label would be a fault of the device; here no label has another class."""

    class Odd(nn.Linear):
        def forward(self, images: Tensor) -> Any:
            return outputs(super().forward(images.flatten(1)))

    data = replace(data, y_train=data.y_train * 0)
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    space = Space(["odd"], build=lambda n, shape, classes: Odd(64, classes + 1))
    found = train_architecture(space, 0, proxy, data, BRIEF, 0)
    if reason is None:
        assert found.score is not None
    else:
        assert found.reason is not None
        assert found.reason.startswith(reason)
        assert found.steps == 1


def test_what_cannot_be_trained_is_said(data: ImageData) -> None:
    with pytest.raises(UserError, match="the proxy dmm needs its condensed set"):
        make_proxy("dmm", data, None, BRIEF, 0)
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    with pytest.raises(UserError, match="networks must be at least 1"):
        train_architecture(SPACE, 0, proxy, data, replace(BRIEF, networks=0), 0)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SystemExit(0), "SystemExit: 0"),
        (RuntimeError("a\udcffb"), "a\\udcffb"),
        (RuntimeError("x" * 200_000), f"{'x' * 66}…{'x' * 33}"),
    ],
)
def test_whatever_a_network_raises_is_a_short_reason(
    error: BaseException, reason: str, data: ImageData
) -> None:
    def build(*_: object) -> nn.Module:
        raise error

    proxy = make_proxy("whole", data, None, BRIEF, 0)
    space = Space(["raises"], build=build)
    assert train_architecture(space, 0, proxy, data, BRIEF, 0).reason == reason
    assert sizes_of(space, ["raises"], data) == {}
    assert cost(space, 0, data) == PER_NETWORK


def test_an_error_of_the_storage_is_no_reason(data: ImageData) -> None:
    """It would stay the result of an architecture that has no fault."""
    training = Training(steps=8, batch_size=30)
    proxy = make_proxy("whole", data, None, training, 0)

    def watch(steps: int, accuracy: float) -> bool:
        raise UserError("study.log cannot be written") from OSError("no space left on device")

    with pytest.raises(UserError, match=r"study\.log cannot be written") as caught:
        train_architecture(SPACE, 0, proxy, data, training, 0, watch)
    assert isinstance(caught.value.__cause__, OSError)


def test_an_architecture_that_diverges_is_no_pruned_one(data: ImageData) -> None:
    """NaN has no class, though it would be taken as the first."""
    training = Training(steps=16, lr=1e6, batch_size=30, augment=False)
    proxy = make_proxy("whole", data, None, training, 0)
    watched = train_architecture(SPACE, 0, proxy, data, training, 0, lambda steps, _: steps == 8)
    unwatched = train_architecture(SPACE, 0, proxy, data, training, 0)
    assert not watched.pruned
    assert watched.reason == "its outputs for the test images are NaN"
    assert unwatched.reason == "diverged: its weights are not finite"
