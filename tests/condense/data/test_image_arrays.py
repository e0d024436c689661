"""Images in the layouts and scales that people have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condense.data.image_arrays import as_pixels, image_shape, is_grey

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
