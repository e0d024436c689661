from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense import UserError, load
from continual import STREAMS, RandomBuffer, StreamSpec, TaskSpec, make_benchmark
from continual.exemplars import read
from continual.own_streams import own_spec
from continual.settings import SPLIT_REPLAY, ContinualConfig
from continual.tasks import augmentation, found_again, load_tasks, prepare
from tests.helpers.folders import write_photos
from tests.helpers.split_images import write_images
from tests.helpers.tiny_streams import tasks


def test_one_network_has_one_normalisation() -> None:
    """Else a buffer would replay the images of a task as those of another."""
    one, two, _ = tasks()
    dark = replace(two, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5))
    stream = make_benchmark([one, dark]).train_stream
    assert {experience.samples.mean for experience in stream} == {one.mean}
    buffer = RandomBuffer(images_per_class=len(dark.x_train))
    buffer.post_adapt(None, stream[1])
    torch.testing.assert_close(
        buffer.samples.inputs().mean((0, 2, 3)), stream[1].samples.inputs().mean((0, 2, 3))
    )


@pytest.mark.parametrize(
    ("head", "task_labels", "offsets"),
    [
        ("domain", [0, 0, 0], [0, 0, 0]),
        ("task", [0, 1, 2], [0] * 3),
        ("class", [0] * 3, [0, 10, 20]),
    ],
)
def test_labels_and_task_labels(head: str, task_labels: list[int], offsets: list[int]) -> None:
    benchmark = make_benchmark(tasks(), head)
    for stream, split in ((benchmark.train_stream, "train"), (benchmark.test_stream, "test")):
        for number, experience in enumerate(stream):
            labels = getattr(tasks()[number], f"y_{split}") + offsets[number]
            assert torch.equal(experience.samples.labels, labels)
            assert list(experience.dataset.targets) == labels.tolist()
            assert set(experience.dataset.targets_task_labels) == {task_labels[number]}
            assert experience.task_label == task_labels[number]
            assert experience.current_experience == number
            assert experience.classes_in_this_experience == sorted(set(labels.tolist()))


def test_the_dataset_is_the_tensors_normalised() -> None:
    experience = make_benchmark(tasks(), "task").train_stream[2]
    found, expected = read(experience.dataset), experience.samples
    torch.testing.assert_close(found.images, expected.inputs())
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.tasks, expected.tasks)


def test_an_experience_has_images_of_one_shape() -> None:
    items = [(torch.zeros(3, side, 16), 0) for side in (16, 8, 16)]
    with pytest.raises(UserError, match=r"one shape, not \[\(3, 8, 16\), \(3, 16, 16\)\]"):
        read(items)


def test_one_shape_and_one_normalisation_for_all_tasks() -> None:
    data = tasks()[0]
    split = StreamSpec((TaskSpec("digits", (0, 1)), TaskSpec("digits", (5, 3, 8))), size=12)
    first, second = prepare(split, [data, data])
    assert first.shape == second.shape == (3, 12, 12)
    assert first.mean == second.mean == data.mean
    assert (first.name, second.name) == ("digits 0,1", "digits 5,3,8")
    assert second.class_names == ("5", "3", "8")
    assert second.classes == 3


@pytest.mark.parametrize(
    ("name", "stored", "shape", "mean"),
    [
        ("fashionmnist", (28, 28), (1, 28, 28), (0.2861,)),
        ("cifar10", (32, 32, 3), (3, 32, 32), (0.4914, 0.4822, 0.4465)),
    ],
)
def test_split_streams_are_two_classes_a_task_as_they_are_in_the_set(
    name: str,
    stored: tuple[int, ...],
    shape: tuple[int, ...],
    mean: tuple[float, ...],
    tmp_path: Path,
) -> None:
    write_images(tmp_path, name, stored)
    found, split = load_tasks(f"split-{name}", tmp_path)
    whole = load(name, tmp_path)
    assert found == f"split-{name}"
    assert [task.name for task in split] == [f"{name} {k},{k + 1}" for k in range(0, 10, 2)]
    names = [class_name for task in split for class_name in task.class_names]
    assert tuple(names) == whole.class_names
    assert len({task.fingerprint() for task in split}) == 5
    for number, task in enumerate(split):
        assert (task.shape, task.mean, task.classes) == (shape, mean, 2)
        for label in range(2):
            ours, theirs = task.y_train == label, whole.y_train == 2 * number + label
            assert torch.equal(task.x_train[ours], whole.x_train[theirs])
    assert augmentation(split) == ("color", "crop", "flip")
    assert augmentation([*split, tasks()[0]]) == ("color", "crop")


def test_the_head_follows_the_stream_unless_one_is_asked_for() -> None:
    follows = {name: ContinualConfig().on(stream).head for name, stream in STREAMS.items()}
    assert follows == {
        "svhn-mnist-usps": "domain",
        "synthdigits-mnist5k-digits": "domain",
        "split-fashionmnist": "class",
        "split-cifar10": "class",
        "split-cifar100": "class",
    }
    for head in ("domain", "task", "class"):
        assert {ContinualConfig(head=head).on(stream).head for stream in STREAMS.values()} == {head}


def test_own_data_sets_are_tasks_of_one_shape(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path, "fashionmnist", (28, 28))
    own = tmp_path / "own.npz"
    (tmp_path / "fashionmnist.npz").rename(own)
    name, found = load_tasks(f"digits, {own}")
    assert name == "digits,own.npz"
    assert found_again("digits, own.npz", name) == f"digits,{Path('own.npz')}"
    monkeypatch.chdir(tmp_path)
    assert found_again("digits, own.npz:classes=2", name) == f"digits,{own}:classes=2"
    assert found_again("auto", "split-cifar10") == "split-cifar10"
    assert [task.name for task in found] == ["digits", "own"]
    assert {task.shape for task in found} == {(1, 28, 28)}
    assert {task.mean for task in found} == {load("digits").mean}
    assert (own_spec(name, found).head, own_spec(name).head) == ("domain", "domain")
    two = [found[0], replace(found[1], class_names=tuple("abcdefghij"))]
    assert own_spec(name, two).head == "class"


def test_folders_of_photos_are_tasks(tmp_path: Path) -> None:
    """They differ in size, and have no test split."""
    folders = [
        write_photos(tmp_path / name, classes) for name, classes in (("a", "cd"), ("b", "ef"))
    ]
    stream = ",".join(map(str, folders))
    with pytest.raises(UserError, match="add --size 16 to make all 16×16"):
        load_tasks(stream)
    _, found = load_tasks(stream, size=16)
    assert [task.class_names for task in found] == [("c", "d"), ("e", "f")]
    assert {task.shape for task in found} == {(3, 16, 16)}
    assert [len(task.x_test) for task in found] == [2, 2]
    _, parts = load_tasks(f"{folders[0]}:classes=1", size=16, fit="resize")
    assert [task.name for task in parts] == ["a 0", "a 1"]
    whole = load(folders[0], size=16, fit="resize")
    for label, part in enumerate(parts):
        assert torch.equal(part.x_train, whole.x_train[whole.y_train == label])


@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_images_of_different_shapes_are_fitted_as_asked(tmp_path: Path, fit: Any) -> None:
    for name, height, width in (("wide", 16, 32), ("square", 24, 24)):
        pixels = np.zeros((40, height, width, 3), np.uint8)
        pixels[:, :, : width // 4] = 255
        labels = np.arange(40) % 2
        parts = {"x_train": pixels[:30], "y_train": labels[:30]}
        np.savez(tmp_path / name, **parts, x_test=pixels[30:], y_test=labels[30:])
    stream = ",".join(str(tmp_path / f"{name}.npz") for name in ("wide", "square"))
    _, found = load_tasks(stream, fit=fit)
    _, sized = load_tasks(stream, size=32, fit=fit)
    for one, other in zip(found, sized, strict=True):
        assert torch.equal(one.x_train, other.x_train)


def test_tasks_of_signs_have_no_flip(tmp_path: Path) -> None:
    own = write_photos(tmp_path / "signs")
    for stream in (f"{own}:classes=1", f"{own},{own}"):
        _, signs = load_tasks(stream, size=16, hflip=False)
        _, photos = load_tasks(stream, size=16)
        assert (augmentation(signs), augmentation(photos)) == (
            ("color", "crop"),
            ("color", "crop", "flip"),
        )


def test_a_task_needs_test_images(tmp_path: Path) -> None:
    write_images(tmp_path, "own", (8, 8))
    with np.load(tmp_path / "own.npz") as archive:
        arrays = {**archive}
    tested = arrays["y_test"] < 8
    arrays |= {name: arrays[name][tested] for name in ("x_test", "y_test")}
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(UserError, match=r"own: classes \[8, 9\] have no images to test with"):
        load_tasks(f"{tmp_path / 'own.npz'}:classes=2")
    _, found = load_tasks(f"{tmp_path / 'own.npz'}:classes=5")
    assert found[1].y_test.unique().tolist() == [0, 1, 2]


def test_another_size_of_a_stream() -> None:
    _, found = load_tasks("digits,mnist5k", size=12)
    assert {task.shape for task in found} == {(1, 12, 12)}


def test_a_known_stream_has_the_size_and_the_flips_asked_for(tmp_path: Path) -> None:
    write_images(tmp_path, "cifar10", (32, 32, 3))
    _, split = load_tasks("split-cifar10", tmp_path, size=16, hflip=False)
    assert {task.shape for task in split} == {(3, 16, 16)}
    assert not any(task.hflip for task in split)


def test_a_data_set_in_parts() -> None:
    _, found = load_tasks("digits:classes=4")
    assert [task.name for task in found] == ["digits 0-3", "digits 4-7", "digits 8,9"]
    assert {task.shape for task in found} == {(1, 8, 8)}
    assert own_spec("digits:classes=4", found).replay == SPLIT_REPLAY
    assert own_spec("digits:classes=4").each == 4
    assert own_spec("digits:classes=x").each is None
    for several in ("digits:classes=4,mnist5k:classes=2", "mnist5k,digits:classes=2"):
        assert own_spec(several).each is None
    assert own_spec("digits:classes=2, mnist5k:classes=2").each == 2
    for wrong in ("0", "10", "x", ""):
        with pytest.raises(UserError, match="number of classes of a task must be 1 to 9"):
            load_tasks(f"digits:classes={wrong}")
    for wrong in (",digits", ":classes=2"):
        with pytest.raises(UserError, match="a stream of your own is"):
            load_tasks(wrong)
    with pytest.raises(UserError, match=r"one data set is no stream: give own\.npz:classes=2"):
        load_tasks("own.npz")
    with pytest.raises(UserError, match="no such file"):
        load_tasks("digits,missing.npz")


@pytest.mark.parametrize("others", ["", ",digits"])
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("digits", "clases=2"),
        ("digits", "2"),
        ("own.npz", "clases=2"),
        ("own.npz", "classes"),
        ("missing.npz", " size=8"),
    ],
)
def test_another_part_than_classes_is_said(
    name: str, part: str, others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.npz").touch()
    with pytest.raises(UserError, match=f"^unknown part '{part}' of .*: give {name}:classes=N$"):
        load_tasks(f"{name}:{part}{others}")


def test_colons_of_paths_are_no_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("D:own.npz", r"D:\a=b\own.npz", "own:1.npz", "digits:/own.npz", ":a.b"):
        with pytest.raises(UserError, match="one data set is no stream"):
            load_tasks(path)
    write_images(tmp_path, "digits:a=1", (8, 8))
    stream, _ = load_tasks("digits:a=1.npz,digits:classes=5")
    assert stream == "digits:a=1.npz,digits:classes=5"


def test_an_unknown_stream_names_the_known() -> None:
    own = "; or NAME:classes=N, or A,B for your own data$"
    with pytest.raises(UserError, match=f"^unknown stream 'digits'; known: .*{own}"):
        load_tasks("digits")
    with pytest.raises(UserError, match="unknown stream 'svhn-mnist'; known: svhn-mnist-usps"):
        load_tasks("svhn-mnist")


def test_streams_that_make_no_sense() -> None:
    with pytest.raises(UserError, match="unknown head 'clas'; known: class"):
        make_benchmark(tasks(), "clas")
    with pytest.raises(UserError, match="the same image shape"):
        make_benchmark([tasks()[0], tasks()[1].resized(8, 3)])
