"""Data sets by name or path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import TensorDataset

from condense.api import condense
from condense.data.image_data import ImageData
from condense.data.loading import available, images_of, load, load_or_embedded, source_of
from condense.data.registry import DATASETS, data_root, measure
from condense.errors import UnavailableError, UserError


def write(path: Path, shape: tuple[int, ...], classes: int = 10, **more: object) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(2 * classes) % classes
    images = rng.integers(0, 256, (len(labels), *shape)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"x_train": images, "y_train": labels, "x_test": images[:5], "y_test": labels[:5]}
    np.savez(path, **{**content, **more})  # type: ignore[arg-type]


def test_load_keeps_pixels_in_their_places(tmp_path: Path) -> None:
    write(tmp_path / "own.npz", (9, 11, 3), 4)
    data = load(tmp_path / "own.npz")
    with np.load(tmp_path / "own.npz") as archive:
        images, labels = archive["x_train"], archive["y_train"]
    assert data.x_train[3, 2, 8, 10] == images[3, 8, 10, 2]
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), images)
    assert np.array_equal(data.y_train.numpy(), labels)
    assert data.x_train.is_contiguous()
    assert (data.name, data.class_names, data.hflip) == ("own", ("0", "1", "2", "3"), True)


def test_images_whose_mirror_image_has_another_meaning(tmp_path: Path) -> None:
    write(tmp_path / "own.npz", (9, 11, 3), 4)
    write(tmp_path / "cifar10.npz", (32, 32, 3))
    for name in (tmp_path / "own.npz", "cifar10"):
        as_usual, signs = load(name, tmp_path), load(name, tmp_path, hflip=False)
        assert (as_usual.hflip, signs.hflip) == (True, False)
        assert "hflip" not in as_usual.source
        assert source_of({"source": signs.source})["hflip"] is False
    resized = load(tmp_path / "own.npz", size=8, hflip=False)
    assert resized.source["size"] == 8
    assert not resized.hflip
    made = condense(resized, "random", ipc=1)
    assert images_of(made.provenance) == (str(tmp_path / "own.npz"), 8, "crop", False)
    assert images_of(made.provenance, "other.npz", 4)[1:] == (4, "crop", False)
    whole = load(tmp_path / "own.npz", size=8, fit="resize")
    assert images_of({"source": whole.source})[1:] == (8, "resize", True)
    assert images_of({}, "own.npz", hflip=False)[-1] is False


def test_load_measures_own_images_and_believes_their_constants(tmp_path: Path) -> None:
    write(tmp_path / "own.npz", (9, 11, 3))
    data = load(str(tmp_path / "own.npz"))
    pixels = data.x_train.double() / 255
    assert data.mean == pytest.approx(pixels.mean((0, 2, 3)).tolist())
    assert data.std == pytest.approx(pixels.std((0, 2, 3), correction=0).tolist())
    write(tmp_path / "told.npz", (9, 11, 3), mean=np.full(3, 0.25), std=np.full(3, 0.5))
    told = load(tmp_path / "told.npz")
    assert (told.mean, told.std) == ((0.25,) * 3, (0.5,) * 3)


def test_a_constant_channel_normalises_to_zeros() -> None:
    images = np.full((5, 8, 8, 3), 7, dtype=np.uint8)
    images[..., 1] = np.arange(8)
    mean, std = measure(images)
    assert mean[0] == pytest.approx(7 / 255)
    assert std[0] == std[2] == 1
    assert std[1] == pytest.approx((np.arange(8) / 255).std())


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        ("mnist", (0.1307,), (0.3081,)),
        ("fashionmnist", (0.2861,), (0.3530,)),
        ("svhn", (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ("cifar10", (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ("cifar100", (0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    ],
)
def test_known_sets_have_the_published_constants(
    name: str, mean: tuple[float, ...], std: tuple[float, ...], tmp_path: Path
) -> None:
    channels, height, width = DATASETS[name].shape
    write(tmp_path / f"{name}.npz", (height, width, channels), len(DATASETS[name].class_names))
    data = load(name, tmp_path)
    assert (data.mean, data.std, data.name) == (mean, std, name)
    assert len(data.class_names) == (100 if name == "cifar100" else 10)


def test_only_digits_are_not_flipped() -> None:
    without_flip = {name for name, known in DATASETS.items() if not known.hflip}
    assert without_flip == {"mnist", "svhn", "usps", "digits", "mnist5k", "synthdigits"}


def test_a_known_name_with_other_images_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "mnist.npz", (32, 32, 3))
    with pytest.raises(
        UserError, match=r"mnist\.npz: 10 classes of images 3×32×32, but .*; delete"
    ):
        load("mnist", tmp_path)
    write(tmp_path / "usps.npz", (16, 16), 7)
    with pytest.raises(UserError, match=r"usps\.npz: 7 classes"):
        load("usps", tmp_path)


def test_root_is_the_argument_else_the_environment_else_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONDENSE_DATA", str(tmp_path / "there"))
    assert data_root(tmp_path / "here") == tmp_path / "here"
    assert data_root(None) == tmp_path / "there"
    monkeypatch.delenv("CONDENSE_DATA")
    assert data_root(None).name == "condense"
    monkeypatch.setenv("CONDENSE_DATA", str(tmp_path))
    write(tmp_path / "usps.npz", (16, 16))
    assert load("usps").shape == (1, 16, 16)


def test_available(tmp_path: Path) -> None:
    assert not available("usps", tmp_path)
    write(tmp_path / "usps.npz", (16, 16))
    assert available("usps", tmp_path)
    assert available("synthdigits", tmp_path)
    assert available(tmp_path / "usps.npz")
    assert not available(tmp_path / "other.npz")


def test_names_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown data set 'minst'; known: mnist, mnist5k,"):
        load("minst", tmp_path)
    for path in ("images.npz", f"{tmp_path}/images"):
        with pytest.raises(UserError, match=f"{path}: no such file or folder"):
            load(path)


def test_images_used_instead_have_the_same_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object) -> None:
        raise UnavailableError("offline")

    monkeypatch.setattr("condense.data.registry.download", offline)
    images: dict[str, Any] = {"size": 16, "fit": "resize", "hflip": False}
    for name in ("digits", "cifar10"):
        (found,) = load_or_embedded(["cifar10"], ["digits"], tmp_path, **images)
        assert (found.name, found.shape[1:]) == (name, (16, 16))
        assert (found.source["fit"], found.source["hflip"]) == ("resize", False)
        write(tmp_path / "cifar10.npz", (32, 32, 3))


@pytest.mark.parametrize("other", [TensorDataset(torch.zeros(2, 3, 8, 8)), np.zeros(2), None])
def test_other_objects_become_image_data_first(other: Any) -> None:
    expected = f"not by an? {type(other).__name__}: make an ImageData of it with ImageData.from_d"
    for take in (load, lambda data: condense(data, "random")):
        with pytest.raises(UserError, match=expected):
            take(other)


def save_image(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_load_takes_a_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 9, 12, 3)).astype(np.uint8)
    save_image(tmp_path / "own" / "train" / "dog" / "1.png", pixels[0])
    save_image(tmp_path / "own" / "train" / "dog" / "2.bmp", pixels[1])
    save_image(tmp_path / "own" / "train" / "cat" / "1.png", pixels[2, ..., 0])
    save_image(tmp_path / "own" / "test" / "dog" / "1.png", pixels[3])
    data = load(tmp_path / "own")
    assert (data.name, data.shape, data.class_names) == ("own", (3, 9, 12), ("cat", "dog"))
    assert data.y_train.tolist() == [0, 1, 1]
    assert data.y_test.tolist() == [1]
    assert np.array_equal(data.x_train[1:].permute(0, 2, 3, 1).numpy(), pixels[:2])
    assert np.array_equal(data.x_train[0].numpy(), pixels[2, ..., 0][None].repeat(3, axis=0))


def test_a_damaged_file_of_a_known_set_says_how_to_have_it_again(tmp_path: Path) -> None:
    (tmp_path / "usps.npz").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"usps\.npz: .*; delete this file, then it is downloaded"):
        load("usps", tmp_path)


def test_load_records_where_the_images_are(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for number, width in enumerate((20, 30, 40)):
            pixels = np.full((20, width, 3), (number, 7, 9), dtype=np.uint8)
            save_image(tmp_path / "own" / name / f"{number}.png", pixels)
    with pytest.raises(UserError, match="images of 3 sizes, 20×20 to 40×20: add --size 16"):
        load(tmp_path / "own")
    data = load(tmp_path / "own", size=16)
    assert data.source == {
        "path": str(tmp_path / "own"),
        "split": {"test_share": 0.2, "seed": 0},
        "size": 16,
        "fit": "crop",
    }
    assert data.fingerprint() == ImageData.from_folder(tmp_path / "own", size=16).fingerprint()
    again = {key: data.source[key] for key in ("size", "fit")}
    assert load(str(data.source["path"]), **again).fingerprint() == data.fingerprint()


def test_load_of_another_size(tmp_path: Path) -> None:
    write(tmp_path / "own.npz", (16, 24, 3))
    assert load(tmp_path / "own.npz", size=8).shape == (3, 8, 8)
    for bad in ({"size": 7}, {"fit": "pad"}, {"size": 10**9}):
        with pytest.raises(UserError, match=r"size must be|unknown fit|of memory"):
            load(tmp_path / "own.npz", **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("damaged", [None, 3, "path", [], {"path": 3, "size": "64", "fit": None}])
def test_a_damaged_record_of_the_source_is_none(damaged: object) -> None:
    assert source_of({"source": damaged}) == {}
    assert source_of({}) == {}
