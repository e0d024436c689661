"""The sets that need no download: always the same, and what they are said to be."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from condense.data import synthetic_digits
from condense.data.arrays import ImageArrays
from condense.data.builtin import digits, mnist5k, synthdigits
from condense.data.loading import load
from condense.data.registry import fetch
from condense.seeds import generator


def digest(arrays: ImageArrays) -> str:
    parts = (arrays.x_train, arrays.y_train, arrays.x_test, arrays.y_test)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.fixture(scope="module")
def drawn() -> Iterator[ImageArrays]:
    """Fewer of them than there are, drawn in the same way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("condense.data.builtin.SYNTHDIGITS_TRAIN", 500)
        patch.setattr("condense.data.builtin.SYNTHDIGITS_TEST", 300)
        yield synthdigits()


def test_digits_are_all_there_in_full_range() -> None:
    arrays = digits()
    assert (len(arrays.x_train), len(arrays.x_test), arrays.shape) == (1438, 359, (1, 8, 8))
    levels = np.unique(np.concatenate([arrays.x_train, arrays.x_test]))
    assert levels.tolist() == [round(level * 255 / 16) for level in range(17)]
    assert digest(arrays) == digest(digits())


def test_digits_are_those_of_scikit_learn() -> None:
    images, labels = load_digits(return_X_y=True)
    theirs = {(row.tobytes(), label) for row, label in zip(images, labels, strict=True)}
    arrays = digits()
    pixels = np.concatenate([arrays.x_train, arrays.x_test]).reshape(-1, 64)
    ours = np.rint(pixels * (16 / 255)), np.concatenate([arrays.y_train, arrays.y_test])
    assert {(row.tobytes(), label) for row, label in zip(*ours, strict=True)} == theirs


def test_mnist5k_is_balanced() -> None:
    arrays = mnist5k()
    assert (len(arrays.x_train), len(arrays.x_test), arrays.shape) == (4000, 1000, (1, 28, 28))
    assert np.bincount(arrays.y_train).tolist() == [400] * 10
    assert np.bincount(arrays.y_test).tolist() == [100] * 10
    assert digest(arrays) == digest(mnist5k())


@pytest.mark.parametrize("make", [digits, mnist5k])
def test_splits_share_no_image_and_are_shuffled(make: Callable[[], ImageArrays]) -> None:
    arrays = make()
    train = {image.tobytes() for image in arrays.x_train}
    assert not train & {image.tobytes() for image in arrays.x_test}
    assert set(arrays.y_train[:100].tolist()) == set(range(10))


def test_mnist5k_images_carry_their_labels() -> None:
    """The nearest training image has the same label for nearly every test image."""
    arrays = mnist5k()
    train = torch.from_numpy(arrays.x_train).flatten(1).float()
    test = torch.from_numpy(arrays.x_test).flatten(1).float()
    nearest = torch.cdist(test, train).argmin(1).numpy()
    assert (arrays.y_train[nearest] == arrays.y_test).mean() > 0.9


def test_synthdigits_are_balanced_colour_images(drawn: ImageArrays) -> None:
    assert (len(drawn.x_train), len(drawn.x_test), drawn.shape) == (500, 300, (3, 32, 32))
    assert np.bincount(drawn.y_train).tolist() == [50] * 10
    assert np.bincount(drawn.y_test).tolist() == [30] * 10
    assert drawn.x_train.std() > 40
    spread = drawn.x_train.astype(int).max(axis=3) - drawn.x_train.min(axis=3)
    assert spread.mean() > 10


def test_rendering_is_the_same_from_the_same_seed_alone() -> None:
    labels = torch.arange(40) % 10
    once = synthetic_digits.render(labels, generator(3, "a"))
    torch.manual_seed(1)
    assert torch.equal(synthetic_digits.render(labels, generator(3, "a")), once)
    assert not torch.equal(synthetic_digits.render(labels, generator(4, "a")), once)


def test_every_typeface_draws_ten_digits_that_differ() -> None:
    glyphs = synthetic_digits.atlas().glyphs
    assert glyphs.shape == (
        len(synthetic_digits.TYPEFACES),
        10,
        synthetic_digits.CELL,
        synthetic_digits.CELL,
    )
    for face in glyphs:
        assert len({digit.numpy().tobytes() for digit in face}) == 10
    edge = glyphs.clone()
    edge[:, :, 2:-2, 2:-2] = 0
    assert edge.max() == 0, "a digit is cut off"
    heights = (glyphs.amax(3) > 0.5).sum(2).float()
    assert abs(heights.median(1).values - synthetic_digits.DIGIT_HEIGHT).max() <= 1


def test_blur_is_a_gaussian_that_keeps_what_is_constant() -> None:
    images = torch.zeros(1, 1, synthetic_digits.SIDE, synthetic_digits.SIDE)
    images[0, 0, 16, 16] = 1
    sigma = torch.full((1, 1, 1, 1), 1.2)
    blurred = synthetic_digits._blurred(images, sigma)[0, 0]
    line = torch.exp(-0.5 * (torch.arange(-4, 5) / 1.2) ** 2)
    line = line / line.sum()
    assert torch.allclose(blurred[12:21, 12:21], torch.outer(line, line), atol=1e-7)
    constant = torch.full_like(images, 0.7)
    assert torch.allclose(synthetic_digits._blurred(constant, sigma), constant)


def test_a_linear_model_reads_more_than_chance_from_synthdigits(drawn: ImageArrays) -> None:
    """The labels belong to the images, though not trivially: templates of grey explain some."""
    templates = synthetic_digits.atlas().glyphs.mean(0)
    templates = torch.nn.functional.avg_pool2d(templates, 2)
    templates = (templates - templates.mean(0)).flatten(1)
    grey = torch.from_numpy(drawn.x_test).float().mean(3).flatten(1)
    grey = grey - grey.mean(1, keepdim=True)
    scores = (grey @ templates.T).abs()
    right = (scores.argmax(1).numpy() == drawn.y_test).mean()
    assert 0.2 < right < 0.8


def test_synthdigits_are_kept_in_the_root(
    tmp_path: Path, drawn: ImageArrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("synthdigits", tmp_path)
    assert len(first.x_train) == len(drawn.x_train)
    assert [file.name for file in tmp_path.iterdir()] == ["synthdigits-1.npz"]
    monkeypatch.setattr("condense.data.synthetic_digits.render", None)
    again = load("synthdigits", tmp_path)
    assert again.describe() == first.describe()
    assert not first.hflip


def test_synthdigits_need_no_root_that_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("condense.data.builtin.SYNTHDIGITS_TRAIN", 20)
    (tmp_path / "file").touch()
    assert fetch("synthdigits", tmp_path / "file").shape == (3, 32, 32)
