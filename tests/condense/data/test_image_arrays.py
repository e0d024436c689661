"""Images in the layouts and scales that people have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condense.data.image_arrays import as_pixels, image_shape, is_grey
from condense.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 9, 3)).astype(np.uint8)


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS.transpose(0, 3, 1, 2),
        PIXELS.astype(np.int64),
        PIXELS.astype(np.float64),
        PIXELS.transpose(0, 3, 1, 2) / 255,
        (PIXELS / 255).astype(np.float32),
        (PIXELS / 255).astype(np.float16),
        PIXELS / 255 * 1.0005,
        PIXELS / 255 * 0.9995,
    ],
    ids=[
        "uint8",
        "CHW",
        "int64",
        "0..255",
        "CHW 0..1",
        "float32",
        "float16",
        "rounded",
        "rounded up",
    ],
)
def test_all_forms_give_the_same_pixels(images: Any) -> None:
    assert image_shape("x_train", images) == (8, 9, 3)
    found = as_pixels({"x_train": images})["x_train"]
    assert found.dtype == np.uint8
    assert np.array_equal(found, PIXELS)


def test_both_splits_have_one_scale() -> None:
    dark = np.ones((1, 8, 9, 3))
    found = as_pixels({"x_train": PIXELS.astype(float), "x_test": dark})
    assert (found["x_test"] == 1).all()
    assert (as_pixels({"x_train": dark})["x_train"] == 255).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int64, np.float32])
def test_zeros_and_ones_are_black_and_white(dtype: type) -> None:
    bits = (PIXELS > 127).astype(dtype)
    found = as_pixels({"x_train": bits, "x_test": bits[:1]})
    for made in found.values():
        assert made.dtype == np.uint8
        assert set(np.unique(made)) == {0, 255}
    assert np.array_equal(found["x_train"] > 0, PIXELS > 127)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_dark_integers_beside_bright_ones_are_pixels(dtype: type) -> None:
    dark = np.ones((1, 8, 9, 3), dtype=dtype)
    found = as_pixels({"x_train": PIXELS, "x_test": dark})
    assert (found["x_test"] == 1).all()


@pytest.mark.parametrize("top", [1.02, 2.5, 15.9])
def test_fractions_slightly_above_1_are_no_pixels(top: float) -> None:
    """As bicubic filters, jitter of brightness and a division by the deviation leave them."""
    with pytest.raises(UserError, match=f"fractions, and values up to {top}; .*: clip them"):
        as_pixels({"x_train": PIXELS / 255 * top})


@pytest.mark.parametrize("top", [2, 16, 17])
def test_whole_floats_and_bright_fractions_are_pixels(top: int) -> None:
    whole = np.rint(PIXELS / 255 * top)
    assert np.array_equal(as_pixels({"x_train": whole})["x_train"], whole)
    if top >= 16:
        fractions = PIXELS / 255 * top
        assert np.array_equal(as_pixels({"x_train": fractions})["x_train"], np.rint(fractions))


def test_bits_beside_pixels_are_black_and_white() -> None:
    bits = np.ones((1, 8, 9, 3), dtype=bool)
    assert (as_pixels({"x_train": PIXELS, "x_test": bits})["x_test"] == 255).all()


def test_chunks_give_the_same_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("condense.data.image_arrays.CHUNK", 2)
    assert np.array_equal(as_pixels({"x_train": PIXELS / 255})["x_train"], PIXELS)
    grey = PIXELS[..., :1].repeat(3, axis=3)
    assert is_grey(grey)
    grey[4, 7, 8, 2] ^= 1
    assert not is_grey(grey)


def test_each_split_may_have_its_own_kind_of_numbers() -> None:
    found = as_pixels({"x_train": PIXELS.astype(np.int64), "x_test": PIXELS / 255})
    for made in found.values():
        assert np.array_equal(made, PIXELS)
