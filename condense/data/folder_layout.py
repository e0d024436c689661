"""Where the image files of a folder are: its splits and classes."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from condense.data.image_files import readable_suffixes
from condense.data.labels import check_class_name, in_order, listed
from condense.errors import UserError

TRAIN = ("train", "training")
TEST = ("test", "testing", "val", "valid", "validation")
"""Names of the folders of the splits, in any case; of several the first one is used."""
NOT_SHOWN = ("__MACOSX", "Thumbs.db", "desktop.ini")
"""What systems leave in folders and archives, beside hidden files."""


@dataclass(frozen=True)
class Layout:
    """The image files of a folder.

    Attributes:
        names: the classes, in the order of their labels; each has a training image.
        splits: for `train` and, if there is one, `test`: each file and its label, in order.
        notes: lines for the user about what is not used.
    """

    names: list[str]
    splits: dict[str, list[tuple[Path, int]]]
    notes: list[str]


def layout_of(path: Path) -> Layout:
    """Find `CLASS/**`, or `train/CLASS/**` and `test/CLASS/**`, in a folder.

    Folders around the whole, and around the classes, are passed through. Images in folders within
    a class belong to it. Hidden files and those that are no images are not used.

    Raises:
        UserError: there are no classes, or a class has test images alone.
    """
    suffixes = readable_suffixes()
    roots, unused = _split_folders(_unwrapped(path, suffixes))
    files: dict[str, dict[str, list[Path]]] = {}
    # Kaggle's and Tiny ImageNet's test images have no classes.
    alone = f"; for a test split of the training images give {roots['train']}"
    for split, root in roots.items():
        inner = _unwrapped(root, suffixes, files.get("train", ()))
        files[split], others = _classes(inner, suffixes, alone if split == "test" else "")
        unused += others
    names = in_order(name for name, found in files["train"].items() if found)
    if not names:
        instead = f", but {unused[0].name}" if unused else ""
        raise UserError(f"{roots['train']}: no image files in its class folders{instead}")
    tested = files.get("test", {})
    for name, found in tested.items():
        if found and name not in names:
            only = f"class {name} has test images, but none to train"
            raise UserError(f"{found[0].parent}: {only}{alone}")
    notes = []
    empty = in_order({*files["train"], *tested} - {*names})
    if empty:
        notes.append(f"class folders without an image, left out: {listed(empty)}")
    if unused:
        more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        notes.append(f"not used: {unused[0].relative_to(path)}{more}")
    splits = {
        split: [(file, label) for label, name in enumerate(names) for file in found.get(name, [])]
        for split, found in files.items()
    }
    if not splits.get("test", True):
        raise UserError(f"{roots['test']}: no image files in its class folders{alone}")
    return Layout(names, splits, notes)


def _split_folders(root: Path) -> tuple[dict[str, Path], list[Path]]:
    """The folder of each split, and folders beside them; without splits all is for training."""
    inside = {folder.name.lower(): folder for folder in _folders(root)}
    train, test = (
        next((inside[name] for name in known if name in inside), None) for known in (TRAIN, TEST)
    )
    if train is None:
        if test is not None:
            raise UserError(f"{root}: a folder {test.name}, but no folder train")
        return {"train": root}, []
    found = {"train": train} | ({"test": test} if test else {})
    return found, [folder for folder in inside.values() if folder not in (train, test)]


def _unwrapped(folder: Path, suffixes: frozenset[str], classes: Container[str] = ()) -> Path:
    """The folder, or, if there is nothing but a folder of folders in it, and it is no class, that
    one."""
    inner = _folders(folder)
    if len(inner) != 1 or inner[0].name.lower() in TRAIN + TEST or not _folders(inner[0]):
        return folder
    if inner[0].name in classes:
        return folder
    if any(file.suffix.lower() in suffixes for file in _visible(folder)):
        return folder
    return _unwrapped(inner[0], suffixes, classes)


def _classes(
    root: Path, suffixes: frozenset[str], advice: str
) -> tuple[dict[str, list[Path]], list[Path]]:
    """The image files of each class folder, sorted, and all other visible files.

    Raises:
        UserError: there are no class folders, or the name of one cannot be used.
    """
    folders = _folders(root)
    loose = [file for file in _visible(root) if file not in folders]
    if not folders:
        images = any(file.suffix.lower() in suffixes for file in loose)
        found = "images, but no folders" if images else "no folders"
        expected = "a folder of images for each class is expected"
        raise UserError(f"{root}: {found} in it; {expected}{advice}")
    files: dict[str, list[Path]] = {}
    for folder in folders:
        try:
            check_class_name(folder.name)
        except UserError as problem:
            raise UserError(f"{root}: {problem}") from None
        every = list(_below(folder))
        files[folder.name] = [file for file in every if file.suffix.lower() in suffixes]
        loose += [file for file in every if file.suffix.lower() not in suffixes]
    return files, loose


def _below(folder: Path) -> Iterator[Path]:
    """All visible files in the folder and in folders within, in the order of their paths."""
    for inside in _visible(folder):
        if inside.is_dir():
            # A link to a folder is not followed: it could lead back here.
            yield from [] if inside.is_symlink() else _below(inside)
        else:
            yield inside


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _visible(path) if entry.is_dir()]


def _visible(path: Path) -> list[Path]:
    """What is in the folder and not hidden, in the order of the names."""
    with os.scandir(path) as entries:
        names = sorted(entry.name for entry in entries)
    return [path / name for name in names if name[0] != "." and name not in NOT_SHOWN]
