"""Data sets of torch, torchvision and Hugging Face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, Subset, TensorDataset
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import ToTensor

from condense.data.image_data import ImageData
from condense.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 9, 3)).astype(np.uint8)
LABELS = np.arange(12) % 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for pixels, label in zip(PIXELS, LABELS, strict=True):
        path = tmp_path / "cdb"[label] / f"{len(list(tmp_path.rglob('*.png'))):02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    return tmp_path


def test_pil_images_and_tensors_of_torchvision(folder: Path) -> None:
    """Sorted by class, as `ImageFolder` has them."""
    rows = np.concatenate([(label == LABELS).nonzero()[0] for label in (2, 0, 1)])
    for transform in (None, ToTensor()):
        dataset = ImageFolder(str(folder), transform)
        data = ImageData.from_dataset(dataset, dataset, name="mine")
        assert (data.name, data.class_names) == ("mine", ("b", "c", "d"))
        assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), PIXELS[rows])
        assert data.y_train.tolist() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_part_of_a_dataset_has_its_class_names(folder: Path) -> None:
    part = Subset(ImageFolder(str(folder)), [0, 1, 2, 8, 9, 10])
    assert ImageData.from_dataset(part).class_names == ("b", "d")


class Numbered(list[Any]):
    """Images with labels that are positions in `classes`, as in torchvision."""

    def __init__(self, labels: list[int], classes: list[str]) -> None:
        super().__init__(zip(PIXELS, labels, strict=False))
        self.classes = classes


def named_test_labels(train: Any, test: Any) -> list[str]:
    data = ImageData.from_dataset(train, test)
    assert torch.equal(data.x_test.permute(0, 2, 3, 1)[0], torch.from_numpy(PIXELS[0]))
    assert data.class_names == ("cat", "dog", "fox")
    return [data.class_names[label] for label in data.y_test.tolist()]


def test_splits_that_number_their_classes_differently_are_matched_by_name() -> None:
    train = Numbered([0, 1, 2, 2], ["cat", "dog", "fox"])
    assert named_test_labels(train, Numbered([0, 1], ["cat", "fox"])) == ["cat", "fox"]
    other = ["yak", "fox", "dog", "cat"]
    assert named_test_labels(train, Subset(Numbered([1, 3], other), [0, 1])) == ["fox", "cat"]
    more = Numbered([3, 0, 1], [*train.classes, "emu"])
    with pytest.raises(UserError, match="y_test contains the label emu; y_train has no such image"):
        ImageData.from_dataset(train, more)
    with pytest.raises(UserError, match="the test data set contains the label -1, but has 2 class"):
        ImageData.from_dataset(train, Numbered([0, -1], ["cat", "fox"]))


def test_class_names_of_one_split_only_name_the_labels_of_both() -> None:
    train = Numbered([0, 1, 2, 2], ["cat", "dog", "fox"])
    assert named_test_labels(train, train[:2]) == ["cat", "dog"]


def test_a_dataset_of_tensors() -> None:
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255
    train = TensorDataset(images, torch.from_numpy(LABELS)[:, None])
    data = ImageData.from_dataset(train, TensorDataset(images[:3], torch.arange(3)))
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), PIXELS)
    assert data.y_test.tolist() == [0, 1, 2]


def test_a_dataset_of_bfloat16() -> None:
    dataset = TensorDataset(torch.ones(4, 3, 8, 8, dtype=torch.bfloat16), torch.arange(4) % 2)
    assert bool((ImageData.from_dataset(dataset, dataset).x_train == 255).all())


def test_images_of_several_sizes_get_one() -> None:
    items = [(Image.fromarray(PIXELS[0]).resize((10 + n, 20)), n % 2) for n in range(4)]
    with pytest.raises(UserError, match=r"images of 4 shapes, .*: give size=64"):
        ImageData.from_dataset(items)
    data = ImageData.from_dataset(items, items, size=8)
    assert data.shape == (3, 8, 8)
    assert data.source == {"size": 8, "fit": "crop"}


def test_images_that_are_too_small_get_a_size() -> None:
    items = [(Image.fromarray(PIXELS[0]).resize((1, 1)), n % 2) for n in range(4)]
    message = "the train data set has images of 1×1 pixels; at least 8 .* expected: give size=8$"
    with pytest.raises(UserError, match=message):
        ImageData.from_dataset(items)
    assert ImageData.from_dataset(items, size=8).shape[1:] == (8, 8)


def test_a_grey_image_among_colours_is_repeated() -> None:
    items: list[Any] = [(Image.fromarray(image), 0) for image in PIXELS]
    items[3] = (Image.fromarray(PIXELS[3, ..., 0]), 0)
    data = ImageData.from_dataset(items, items)
    assert torch.equal(data.x_train[3, 2], torch.from_numpy(PIXELS[3, ..., 0]))


def test_hugging_face() -> None:
    import datasets

    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "emu"])}
    )
    columns = {"img": [Image.fromarray(image) for image in PIXELS], "label": LABELS.tolist()}
    train = datasets.Dataset.from_dict(columns, features=features)
    both = datasets.DatasetDict({"train": train, "validation": train.select(range(5))})
    data = ImageData.from_dataset(both)
    assert data.class_names == ("cat", "dog", "emu")
    assert np.array_equal(data.x_train.permute(0, 2, 3, 1).numpy(), PIXELS)
    assert len(data.x_test) == 5
    turned = datasets.ClassLabel(names=["emu", "cat", "dog"])
    test = train.cast_column("label", turned)  # the numbers stay, so the names change
    mixed = ImageData.from_dataset(train, test)
    assert mixed.y_test.tolist() == [(label - 1) % 3 for label in LABELS.tolist()]
    with pytest.raises(UserError, match=r"columns img, species; .* rename_column"):
        ImageData.from_dataset(train.rename_column("label", "species"))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (Stream(), "a map-style data set is expected"),
        ([], "is empty"),
        ([3], r"gives a int; \(image, label\) is expected"),
        ([("cat.png", 0)], r"gives a tuple; \(image, label\)"),
        ([(PIXELS[0], [0, 1]), (PIXELS[0], [0])], "labels of several shapes"),
        ([(PIXELS[0] / 128 - 1.0, 0)], "give the images without normalisation"),
    ],
)
def test_datasets_that_will_not_do(dataset: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ImageData.from_dataset(dataset, dataset)


def test_torchvisions_own_sets() -> None:
    data = ImageData.from_dataset(FakeData(20, (3, 8, 8), 2), FakeData(6, (3, 8, 8), 2))
    assert (data.shape, data.classes) == ((3, 8, 8), 2)


def test_the_images_that_are_read_stay_as_they_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.jpg")

    def photos() -> list[tuple[Image.Image, int]]:
        return [(Image.open(tmp_path / "photo.jpg"), number % 2) for number in range(4)]

    read = photos()
    ImageData.from_dataset(read, size=16)
    assert read[0][0].size == (256, 256)
    again, fresh = (ImageData.from_dataset(some, size=64) for some in (read, photos()))
    assert torch.equal(again.x_train, fresh.x_train)


class Wrapper:
    """A data set in another one."""

    def __init__(self, dataset: Any, **attributes: Any) -> None:
        self.dataset = dataset
        for name, value in attributes.items():
            setattr(self, name, value)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, row: int) -> Any:
        return self.dataset[row]


def test_the_class_names_of_a_wrapper_come_first() -> None:
    items = [(torch.rand(3, 8, 8), number % 2) for number in range(8)]
    inner = Wrapper(items, classes=["ant", "bee"])
    for classes in (["cat", "dog"], np.array(["cat", "dog"])):
        assert ImageData.from_dataset(Wrapper(inner, classes=classes)).class_names == ("cat", "dog")
    assert ImageData.from_dataset(Wrapper(inner)).class_names == ("ant", "bee")


def test_features_may_be_a_tensor() -> None:
    items = [(torch.rand(3, 8, 8), number % 2) for number in range(8)]
    found = ImageData.from_dataset(Wrapper(items, features=torch.rand(8, 4)))
    assert found.class_names == ("0", "1")
