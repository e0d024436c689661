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


def test_integers_are_pixels_and_bits_are_black_or_white() -> None:
    ones = np.ones((1, 8, 8), dtype=np.int32)
    assert (as_pixels({"x_train": ones})["x_train"] == 1).all()
    assert (as_pixels({"x_train": ones.astype(bool)})["x_train"] == 255).all()


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
