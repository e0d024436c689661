"""Condensed sets as other repositories save them."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense import __main__, load
from condense.api import condense
from condense.data.image_data import ImageData
from condense.data.registry import DATASETS
from condense.errors import UserError
from condense.export.formats import export
from condense.foreign_sets import Tensors, is_foreign, load_pt, load_set, tensors_in
from condense.seeds import generator
from tests.helpers.folders import write_photos
from tests.helpers.images import blobs

MNIST = DATASETS["mnist"]
IMAGES = 2 * torch.randn(20, 1, 28, 28, generator=generator(0))
LABELS = torch.arange(10).repeat_interleave(2)


def pixels(images: torch.Tensor) -> torch.Tensor:
    return images * 0.3081 + 0.1307


def read_pt(path: Path) -> Tensors:
    return tensors_in(load_pt(path), path)


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("random", {"labels": "soft", "storage": "dct"}),
        ("ld", {"iterations": 1}),
        ("dd", {"iterations": 1}),
    ],
)
def test_an_export_is_the_set_again(method: str, changes: dict[str, Any], tmp_path: Path) -> None:
    """With soft labels, learnt learning rates, normalisation, classes and provenance."""
    data = blobs()
    made = condense(data, method, preset="smoke", ipc=2, **changes)
    export(made, "pt", tmp_path / "set.pt")
    assert not is_foreign(tmp_path / "set.pt")
    again = load_set(tmp_path / "set.pt")
    assert torch.equal(again.images, made.images)
    assert torch.equal(again.targets, made.targets)
    assert (again.distill_lrs is None) == (made.distill_lrs is None)
    if made.distill_lrs is not None:
        assert torch.equal(again.distill_lrs, made.distill_lrs)
    for name in ("mean", "std", "class_names", "provenance"):
        assert getattr(again, name) == getattr(made, name)


def test_an_export_keeps_its_order(tmp_path: Path) -> None:
    """Even if each class is the most probable one of equally many images: exports are exact."""
    made = condense(blobs(), "random", preset="smoke")
    made = replace(made, labels=torch.eye(3)[made.labels].roll(made.images_per_class, 0))
    export(made, "pt", tmp_path / "set.pt")
    for path in (tmp_path / "set.pt", str(tmp_path / "set.pt")):
        again = load_set(path)
        assert torch.equal(again.images, made.images)
        assert torch.equal(again.targets, made.targets)


def test_soft_labels_of_other_code_are_sorted(tmp_path: Path) -> None:
    images = torch.rand(10, 1, 8, 8, generator=generator(0))
    order = torch.randperm(10, generator=generator(1))
    torch.save((images[order], torch.eye(10)[order]), tmp_path / "set.pt")
    made = load_set(tmp_path / "set.pt")
    assert torch.equal(made.images, images)
    assert torch.equal(made.labels, torch.eye(10))


def test_a_changed_export_is_one_line(tmp_path: Path) -> None:
    export(condense(blobs(), "random", preset="smoke"), "pt", tmp_path / "set.pt")
    content = load_pt(tmp_path / "set.pt")
    for name, value in (
        ("labels", LABELS), ("mean", 3), ("class_names", 1),
        ("provenance", "{"), ("provenance", 1), ("provenance", "[]"),
        ("distill_lrs", torch.zeros(2, 2)), ("images", 1), ("distill_lrs", 1),
    ):  # fmt: skip
        torch.save({**content, name: value}, tmp_path / "set.pt")
        with pytest.raises(UserError, match=r"^\S+ is not a set as it was exported: [^\n]+$"):
            load_set(tmp_path / "set.pt")


def test_a_file_of_vico(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Images and labels of each experiment, with accuracies as NumPy's numbers."""
    path = tmp_path / "res_DSA_MNIST_ConvNet_2ipc.pt"
    accuracies = {"ConvNet": [np.float64(0.97), np.float32(0.98)]}
    torch.save({"data": [[IMAGES, LABELS], [-IMAGES, LABELS]], "accs_all_exps": accuracies}, path)
    made = load_set(path, MNIST)
    torch.testing.assert_close(made.images, pixels(IMAGES))
    assert (made.class_names, made.images_per_class) == (MNIST.class_names, 2)
    assert made.provenance == {"method": "res_DSA_MNIST_ConvNet_2ipc"}
    said = capsys.readouterr().err
    assert "read as normalised with mean and std; ZCA whitening is missing here" in said
    with pytest.raises(
        UserError, match="its images are normalised: give the --dataset that they were made from"
    ):
        load_set(path)


def test_files_of_images_labels_and_learning_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As MTT, TESLA and DATM save them: soft labels are logits."""
    logits = 3 * torch.eye(10)[LABELS]
    for name, tensor in (("images", IMAGES), ("labels", logits), ("lr", torch.tensor(0.0125))):
        torch.save(tensor, tmp_path / f"{name}_best.pt")
    made = load_set(tmp_path / "images_best.pt", MNIST)
    torch.testing.assert_close(made.labels, logits.softmax(1))
    assert made.provenance["lr"] == pytest.approx(0.0125)
    assert "to train with it: --lr 0.0125" in capsys.readouterr().err
    (tmp_path / "labels_best.pt").unlink()
    with pytest.raises(UserError, match=r"labels_best\.pt: there is no such file"):
        load_set(tmp_path / "images_best.pt", MNIST)


@pytest.mark.parametrize(
    "content",
    [
        (IMAGES, LABELS),
        [IMAGES, LABELS, {"epoch": 3}],
        {"images": IMAGES, "labels": LABELS, "lr": 0.1},
        {"data": IMAGES, "targets": LABELS},
    ],
    ids=["pair", "list", "dictionary", "other names"],
)
def test_pairs_and_dictionaries(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "data_best.pth")
    found = read_pt(tmp_path / "data_best.pth")
    assert torch.equal(found.images, IMAGES)
    assert torch.equal(found.labels, LABELS)
    assert found.lr == (0.1 if "lr" in content else None)


def test_a_normalised_file_of_photos_of_several_sizes_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(Path("photos"))
    photos = load("photos", size=16)
    images = condense(photos, "random", preset="smoke", ipc=2).normalised()
    torch.save((images, torch.tensor([0, 0, 1, 1])), "made.pt")
    __main__.show(["made.pt", "--dataset", "photos", "--size", "16"])
    assert Path("grid.png").is_file()


def test_pixels_need_no_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.rand(20, 3, 8, 8, generator=generator(0))
    torch.save((images, LABELS), tmp_path / "own.pt")
    assert torch.equal(load_set(tmp_path / "own.pt").images, images)
    eight_bits = (255 * images).to(torch.uint8)
    torch.save((eight_bits, LABELS), tmp_path / "bytes.pt")
    assert torch.equal(load_set(tmp_path / "bytes.pt").images, eight_bits.float() / 255)
    assert capsys.readouterr().err == ""


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (self.path,)


def test_files_that_are_no_sets(tmp_path: Path) -> None:
    path = tmp_path / "set.pt"
    with pytest.raises(UserError, match="no such file"):
        read_pt(path)
    torch.save({"images": Trap(tmp_path / "sprung")}, path)
    with pytest.raises(UserError, match=r"other Python objects .* save images and labels alone"):
        read_pt(path)
    path.write_bytes(pickle.dumps(Trap(tmp_path / "sprung"), protocol=2))
    with pytest.raises(UserError):
        read_pt(path)
    assert not (tmp_path / "sprung").exists()
    for content in ({"state_dict": {}}, IMAGES, [], {"images": LABELS, "labels": LABELS}, 3):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"set\.pt has no images \[n, c, h, w\] with labels"):
            read_pt(path)
    torch.save((IMAGES, LABELS), path)
    whole = path.read_bytes()
    for data in (b"", b"PK\x03\x04", whole[:500], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"^[^\n]+$"):
            read_pt(path)


def test_labels_of_other_classes(tmp_path: Path) -> None:
    data: ImageData = blobs()
    torch.save((IMAGES[:, :, :8, :8], LABELS), tmp_path / "set.pt")
    with pytest.raises(UserError, match=r"set\.pt: .*labels are not 0 to 2"):
        load_set(tmp_path / "set.pt", data)


def test_an_export_is_read_whatever_its_pixels_are(tmp_path: Path) -> None:
    made = condense(blobs(), "random", ipc=1, storage="float32")
    made = replace(made, images=40 * made.images, stored=None)
    export(made, "pt", tmp_path / "set.pt")
    assert torch.equal(load_set(str(tmp_path / "set.pt")).images, made.images)
