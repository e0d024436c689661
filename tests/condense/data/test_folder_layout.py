"""Folders as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from condense.data.folder_layout import layout_of
from condense.errors import UserError


def made(folder: Path, *files: str) -> Path:
    """Empty files; a name that ends with a slash is a folder."""
    for name in files:
        path = folder / name
        if name.endswith("/"):
            path.mkdir(parents=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return folder


def found(folder: Path) -> dict[str, list[tuple[str, int]]]:
    return {
        split: [(file.relative_to(folder).as_posix(), label) for file, label in listing]
        for split, listing in layout_of(folder).splits.items()
    }


def test_classes_alone_are_all_for_training(tmp_path: Path) -> None:
    made(tmp_path, "dog/1.png", "cat/2.JPG", "cat/1.jpeg")
    assert found(tmp_path) == {"train": [("cat/1.jpeg", 0), ("cat/2.JPG", 0), ("dog/1.png", 1)]}
    assert layout_of(tmp_path).notes == []


@pytest.mark.parametrize("train", ["train", "Train", "training"])
@pytest.mark.parametrize("test", ["test", "Testing", "val", "valid", "Validation"])
def test_names_of_the_splits(train: str, test: str, tmp_path: Path) -> None:
    made(tmp_path, f"{train}/a/1.png", f"{test}/a/2.png")
    assert found(tmp_path) == {"train": [(f"{train}/a/1.png", 0)], "test": [(f"{test}/a/2.png", 0)]}


def test_of_two_splits_beside_training_the_test_split_is_used(tmp_path: Path) -> None:
    made(tmp_path, "train/a/1.png", "val/a/1.png", "test/a/2.png")
    assert found(tmp_path)["test"] == [("test/a/2.png", 0)]
    assert layout_of(tmp_path).notes == ["not used: val"]


def test_folders_around_the_whole_and_around_classes(tmp_path: Path) -> None:
    made(tmp_path, "archive/photos/train/images/a/1.png", "archive/photos/train/images/b/1.png")
    made(tmp_path, "archive/photos/test/images/b/1.png", "__MACOSX/photos/a/._1.png")
    prefix = "archive/photos"
    assert found(tmp_path) == {
        "train": [(f"{prefix}/train/images/a/1.png", 0), (f"{prefix}/train/images/b/1.png", 1)],
        "test": [(f"{prefix}/test/images/b/1.png", 1)],
    }


def test_folders_in_a_class_belong_to_it(tmp_path: Path) -> None:
    made(tmp_path, "cat/2019/1.png", "cat/2020/may/1.png", "dog/1.png")
    (tmp_path / "dog" / "loop").symlink_to(tmp_path)
    assert found(tmp_path)["train"] == [
        ("cat/2019/1.png", 0),
        ("cat/2020/may/1.png", 0),
        ("dog/1.png", 1),
    ]


def test_a_single_test_folder_is_a_class_if_that_is_its_name(tmp_path: Path) -> None:
    made(tmp_path, "train/a/1.png", "train/b/1.png", "test/b/2024/1.png", "test/b/2025/1.png")
    assert found(tmp_path)["test"] == [("test/b/2024/1.png", 1), ("test/b/2025/1.png", 1)]


def test_what_is_no_image_is_not_used_and_said(tmp_path: Path) -> None:
    made(tmp_path, "cat/1.png", "cat/notes.pdf", "dog/1.png", "dog/.DS_Store", "dog/Thumbs.db")
    made(tmp_path, ".git/1.png", "readme.txt")
    assert len(found(tmp_path)["train"]) == 2
    assert layout_of(tmp_path).notes == ["not used: readme.txt and 1 more"]


def test_empty_class_folders_are_left_out_and_named(tmp_path: Path) -> None:
    made(tmp_path, "train/ant/1.png", "train/bee/", "train/cow/notes.pdf", "test/ant/1.png")
    made(tmp_path, "test/bee/")
    layout = layout_of(tmp_path)
    assert layout.names == ["ant"]
    assert layout.notes[0] == "class folders without an image, left out: bee, cow"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["test/a/1.png"], "a folder test, but no folder train"),
        (["train/a/1.png", "test/b/1.png"], "test/b: class b has test images, but none to train"),
        (
            ["train/a/1.png", "test/images/1.png"],
            "; for a test split of the training images give .*/train",
        ),
        (
            ["train/a/1.png", "test/1.png"],
            "test: images, but no folders in it.*; for a test .* give .*/train",
        ),
        (["train/a/1.png", "test/a/"], "test: no image files in its class folders.* give .*/train"),
        (["train/1.png"], "train: images, but no folders in it"),
        (["a/1.heic", "b/"], "no image files in its class folders, but 1.heic"),
    ],
)
def test_folders_that_will_not_do(files: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        layout_of(made(tmp_path, *files))
