"""ImageData and load: what the methods do to the images, and where sets are found."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.seeds import generator


def image_data(
    n: int = 30, shape: tuple[int, int, int] = (3, 12, 10), classes: int = 3, seed: int = 0
) -> ImageData:
    """A small random set whose classes are 0, 1, 2, 0, 1, 2, …"""
    draws = generator(seed, "test")
    pixels = torch.randint(256, (n + 9, *shape), dtype=torch.uint8, generator=draws)
    labels = torch.arange(n + 9) % classes
    return ImageData(
        name="small",
        x_train=pixels[:n],
        y_train=labels[:n],
        x_test=pixels[n:],
        y_test=labels[n:],
        mean=(0.4, 0.5, 0.6)[: shape[0]],
        std=(0.2, 0.25, 0.3)[: shape[0]],
        class_names=tuple("abcdefghij"[:classes]),
    )


def test_is_immutable_and_knows_its_shape() -> None:
    data = image_data()
    assert (data.shape, data.classes, data.device) == ((3, 12, 10), 3, torch.device("cpu"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.hflip = False  # type: ignore[misc]


def test_a_terminal_shows_no_pixels() -> None:
    assert repr(image_data()) == (
        "ImageData(small, 3 classes, 30 training and 9 test images 12×10 with 3 channels, cpu)"
    )


def test_normalise_by_hand() -> None:
    data = image_data()
    before = data.x_train.clone()
    normal = data.normalise(data.x_train)
    assert normal.dtype == torch.float32
    assert torch.equal(data.x_train, before)
    for channel, (mean, std) in enumerate(zip(data.mean, data.std, strict=True)):
        byte = int(data.x_train[7, channel, 5, 3])
        expected = (byte / 255 - mean) / std
        assert normal[7, channel, 5, 3].item() == pytest.approx(expected, abs=1e-5)


def test_normalise_leaves_floats_as_they_are() -> None:
    data = image_data()
    pixels = data.x_train.float()
    assert torch.equal(data.normalise(pixels), data.normalise(data.x_train))
    assert torch.equal(pixels, data.x_train.float())


def test_denormalise_undoes_normalise_without_clamping() -> None:
    data = image_data()
    pixels = data.denormalise(data.normalise(data.x_test))
    assert torch.allclose(pixels, data.x_test / 255, atol=1e-6)
    assert data.denormalise(torch.full((1, 3, 2, 2), 9.0))[0, 0, 0, 0].item() == pytest.approx(2.2)


def test_normalise_serves_one_image_and_a_batch_of_batches() -> None:
    data = image_data()
    whole = data.normalise(data.x_train)
    assert torch.equal(data.normalise(data.x_train[4]), whole[4])
    assert torch.equal(data.normalise(data.x_train.view(5, 6, *data.shape)).flatten(0, 1), whole)


def test_to_the_device_it_is_on_is_itself() -> None:
    data = image_data()
    assert data.to("cpu") is data
    assert data.to("meta").device == torch.device("meta")


def test_resized_to_its_own_size_is_itself() -> None:
    data = image_data(shape=(1, 12, 12))
    for size in (12, (12, 12), [12, 12]):
        assert data.resized(size, 1) is data


def test_resized_repeats_grey_and_its_constants() -> None:
    data = image_data(shape=(1, 12, 12))
    colour = data.resized(12, 3)
    assert colour.shape == (3, 12, 12)
    assert (colour.mean, colour.std) == (data.mean * 3, data.std * 3)
    for channel in range(3):
        assert torch.equal(colour.x_train[:, channel], data.x_train[:, 0])
    with pytest.raises(UserError, match="3 channels cannot become 1"):
        colour.resized(12, 1)


def test_resized_halves_by_averaging_with_a_triangle() -> None:
    """Antialiased bilinear halving weighs a line's pixels by 1 3 3 1 around each new one."""
    data = image_data(shape=(1, 16, 16))
    small = data.resized(8, 1)
    assert small.x_train.dtype == torch.uint8
    weights = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    rows = data.x_train[:, 0, 1:, 1:].float().unfold(1, 4, 2) @ weights
    expected = (rows.unfold(2, 4, 2) @ weights).round()
    assert torch.equal(small.x_train[:, 0, 1:-1, 1:-1].float(), expected)


def test_resized_in_chunks_is_resized_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    data = image_data()
    at_once = data.resized(16, 3)
    monkeypatch.setattr("condense.data.image_tensors.CHUNK", 7)
    assert torch.equal(data.resized(16, 3).x_train, at_once.x_train)


def test_resizing_keeps_extremes() -> None:
    extreme = torch.tensor([0, 255], dtype=torch.uint8).repeat(15).view(30, 1, 1, 1)
    data = dataclasses.replace(image_data(), x_train=extreme.expand(30, 3, 12, 10).contiguous())
    assert torch.equal(data.resized(31, 3).x_train[:, 0, 0, 0], extreme.flatten())


@given(st.permutations(range(4)), st.integers(1, 4))
def test_with_classes_keeps_images_and_renumbers(order: list[int], kept: int) -> None:
    data, classes = image_data(n=21, classes=4), order[:kept]
    part = data.with_classes(classes)
    assert part.class_names == tuple("abcd"[label] for label in classes)
    for split in ("train", "test"):
        old = [
            (classes.index(int(label)), image)
            for image, label in zip(
                getattr(data, f"x_{split}"), getattr(data, f"y_{split}"), strict=True
            )
            if int(label) in classes
        ]
        assert getattr(part, f"y_{split}").tolist() == [label for label, _ in old]
        assert torch.equal(getattr(part, f"x_{split}"), torch.stack([image for _, image in old]))


@pytest.mark.parametrize("form", [torch.tensor, np.array, tuple, dict.fromkeys])
def test_with_classes_takes_numbers_of_any_kind(form: Any) -> None:
    assert image_data().with_classes(form([2, 0])).class_names == ("c", "a")


@pytest.mark.parametrize("classes", [[], [0, 0], [3], [-1], [True, False], [[0, 1]], [1.0], ["a"]])
def test_with_classes_that_are_not_some_of_them(classes: Any) -> None:
    with pytest.raises(UserError, match=r"not some of 0\.\.2"):
        image_data().with_classes(classes)


def test_with_classes_that_have_no_images() -> None:
    data = image_data()
    data = data.train_subset((data.y_train != 1).nonzero().flatten())
    with pytest.raises(UserError, match="no images"):
        data.with_classes([1])


def test_train_indices_by_class_find_all_of_each() -> None:
    data = image_data()
    for label, indices in enumerate(data.train_indices_by_class()):
        assert indices.tolist() == (data.y_train == label).nonzero().flatten().tolist()


def test_train_indices_by_class_of_an_absent_class_are_empty() -> None:
    data = image_data().train_subset(torch.tensor([0, 3, 1]))
    assert [len(indices) for indices in data.train_indices_by_class()] == [2, 1, 0]


def test_train_subset_keeps_the_order_asked_for() -> None:
    data = image_data()
    for indices in (torch.tensor([8, 2]), [8, 2], np.array([2, 8])[::-1], range(8, 0, -6)):
        part = data.train_subset(indices)
        assert torch.equal(part.x_train, torch.stack([data.x_train[8], data.x_train[2]]))
    assert part.y_train.tolist() == [2, 2]
    assert part.x_test.data_ptr() == data.x_test.data_ptr()  # no copy


CHANGES: dict[str, Callable[[ImageData], ImageData]] = {
    "a pixel": lambda data: dataclasses.replace(data, x_train=data.x_train ^ 1),
    "a label": lambda data: dataclasses.replace(data, y_train=data.y_train.flip(0)),
    "the shape": lambda data: dataclasses.replace(
        data, x_train=data.x_train.mT.contiguous(), x_test=data.x_test.mT.contiguous()
    ),
    "the order": lambda data: data.train_subset(torch.arange(30).flip(0)),
    "the mean": lambda data: dataclasses.replace(data, mean=(0.4, 0.5, 0.61)),
    "the std": lambda data: dataclasses.replace(data, std=(0.2, 0.25, 0.31)),
    "mirrored images": ImageData.without_hflip,
}


@pytest.mark.parametrize("change", CHANGES)
def test_fingerprint_depends_on(change: str) -> None:
    data = image_data()
    assert CHANGES[change](data).fingerprint() != data.fingerprint()


def test_fingerprint_is_of_the_content_alone() -> None:
    data = image_data()
    transposed = data.x_train.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    other = dataclasses.replace(
        data, name="other", x_train=transposed, x_test=data.x_test[:1], y_test=data.y_test[:1]
    )
    assert other.fingerprint() == data.fingerprint()
    assert re.fullmatch("[0-9a-f]{64}", data.fingerprint())


def test_describe_tells_both_splits() -> None:
    data = image_data()
    described = data.describe()
    assert described["train"] == 30
    assert described["test"] == 9
    assert described["shape"] == [3, 12, 10]
    assert described["sha256"] == data.fingerprint()
    other = dataclasses.replace(data, x_test=data.x_test ^ 1).describe()
    assert {key for key in described if described[key] != other[key]} == {"sha256_test"}


def changed(**changes: object) -> ImageData:
    return dataclasses.replace(image_data(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": torch.zeros(30, 3, 12, 10)}, "small: x_train is torch.float32 .*from_arrays"),
        ({"x_test": torch.zeros(9, 12, 10, 3, dtype=torch.uint8)}, "x_test is .*12, 10, 3"),
        ({"y_train": torch.arange(29) % 3}, r"y_train is torch.int64 \[29\], not int64 \[30\]"),
        ({"y_test": torch.zeros(9)}, r"y_test is torch.float32 \[9\]"),
        ({"y_train": torch.arange(30)}, "y_train has labels from 0 to 29, not 0 to 2"),
        ({"y_test": -torch.ones(9).long()}, "y_test has labels from -1 to -1"),
        ({"x_test": torch.zeros(9, 3, 8, 8, dtype=torch.uint8)}, "images of x_test are"),
        ({"mean": (0.5,)}, r"mean is \(0.5,\), not a number for each of 3"),
        ({"std": (0.5, 0.0, 0.5)}, "numbers above 0"),
        ({"class_names": ["a", "a", "b"]}, "two classes have the same name"),
    ],
)
def test_what_cannot_be_used_is_said_when_it_is_made(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        changed(**changes)


def test_lists_become_tuples() -> None:
    data = changed(class_names=["a", "b", "c"], mean=[0, 0, 0], std=torch.ones(3))
    assert (data.class_names, data.mean, data.std) == (("a", "b", "c"), (0.0,) * 3, (1.0,) * 3)


def test_data_may_have_no_test_images() -> None:
    data = image_data()
    assert len(changed(x_test=data.x_test[:0], y_test=data.y_test[:0]).x_test) == 0


@pytest.mark.parametrize("form", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_from_arrays(form: Callable[..., object], capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 9, 3)).astype(np.uint8)
    labels = np.arange(20) % 2
    whole = {"x": pixels, "y": labels, "x_test": pixels[:4], "y_test": labels[:4]}
    data = ImageData.from_arrays(
        **{key: form(value) for key, value in whole.items()},  # type: ignore[arg-type]
        class_names=["cat", "dog"],
        name="mine",
        hflip=False,
    )
    assert (data.name, data.class_names, data.hflip) == ("mine", ("cat", "dog"), False)
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), pixels)
    assert data.y_test.tolist() == [0, 1, 0, 1]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.filterwarnings("error")
def test_from_arrays_takes_memory_that_is_not_to_be_written(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 9, channels)).astype(np.uint8)
    np.save(tmp_path / "x.npy", pixels)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for images in (mapped, pixels[::-1].copy()[::-1]):
        data = ImageData.from_arrays(images, [0, 1, 0, 1], images, [0, 1, 0, 1])
        assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), pixels)


def test_from_arrays_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).random((20, 1, 8, 8))
    labels = np.array(["cat", "dog"] * 10, dtype=object)
    data = ImageData.from_arrays(pixels, labels)
    assert (data.class_names, len(data.x_test)) == (("cat", "dog"), 4)
    assert data.source == {"split": {"test_share": 0.2, "seed": 0}}
    assert "arrays: no test images: 4 of 20, 20% of each class" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"^arrays: key y_train has shape \(19,\)"):
        ImageData.from_arrays(pixels, labels[1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("form", [torch.as_tensor, list])
def test_from_arrays_takes_floats_of_any_width(dtype: torch.dtype, form: Any) -> None:
    pixels = torch.randint(2, (20, 3, 8, 8), generator=generator(0))
    labels = [0, 1] * 10
    found, expected = (
        ImageData.from_arrays(images, labels, images, labels)
        for images in (form(pixels.to(dtype)), pixels.to(torch.uint8) * 255)
    )
    assert torch.equal(found.x_train, expected.x_train)


@pytest.mark.parametrize("images", [[[0, 1], [0]], torch.zeros(2, 3, 8, 8).to_sparse()])
def test_from_arrays_of_what_is_no_array_is_one_line(images: Any) -> None:
    with pytest.raises(UserError, match="mine: key x_train cannot be read as an array"):
        ImageData.from_arrays(images, [0, 1], name="mine")


def test_squared_crops_the_middle_or_resizes() -> None:
    data = image_data(shape=(1, 16, 24))
    cropped = data.squared(16)
    assert torch.equal(cropped.x_train, data.x_train[..., 4:20])
    assert torch.equal(cropped.x_test, data.x_test[..., 4:20])
    assert cropped.source == {"size": 16, "fit": "crop"}
    resized = data.squared(16, "resize")
    assert resized.shape == (1, 16, 16)
    assert torch.equal(resized.x_test, data.resized(16, 1).x_test)
