from __future__ import annotations

from typing import Any

import pytest

from condense import (
    UserError,
    method_named,
)
from continual import CondensedBuffer, RandomBuffer
from tests.helpers.buffers import BUFFERS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomBuffer(), "give the buffer a size"),
        (lambda: RandomBuffer(images_per_class=0), "at least 1"),
        (lambda: RandomBuffer(10, factor=0), "factor must be at least 1"),
        (lambda: RandomBuffer(10, factor=17), "factor must be at most 16"),
        (lambda: RandomBuffer(10, storage="jpeg"), "unknown storage 'jpeg'; known: pixels"),
        (lambda: RandomBuffer(10, storage="dct", factor=2), "1 with storage dct: omit it"),
        (lambda: RandomBuffer(10, balance="task"), "balance must be class or experience"),
        (lambda: RandomBuffer(10, mean=0.13), "mean must have one number per channel, not 0.13"),
        (lambda: RandomBuffer(10, images_per_class=2), "either max_size or images_per_class"),
    ],
)
def test_what_makes_no_sense_is_said(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("kind", BUFFERS)
def test_an_unknown_argument_is_an_error(kind: str) -> None:
    with pytest.raises(TypeError, match="has no argument 'means'"):
        BUFFERS[kind](20, means=(0.5,))


@pytest.mark.parametrize("rest", [{"max_size": 20.0}, {"max_size": 20, "seed": None}])
def test_sizes_and_seeds_are_integers(rest: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="integer"):
        RandomBuffer(**rest)


def test_settings_of_another_method_are_an_error_before_training() -> None:
    with pytest.raises(UserError, match="GradientMatching"):
        CondensedBuffer(20, method="dm", settings=method_named("dsa").preset("smoke"))
