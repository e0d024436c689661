from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.models import SimpleCNN

from condense import Classifier, UserError, build, generator, load
from continual import HEADS, STREAMS, RandomBuffer, StreamSpec, TaskSpec, make_benchmark, with_heads
from continual.exemplars import ItemFormat, Samples, as_dataset, read
from continual.loading import BatchLoader, RehearsalLoader
from continual.own_streams import own_spec
from continual.settings import SPLIT_REPLAY, ContinualConfig
from continual.tasks import augmentation, found_again, load_tasks, prepare
from tests.helpers.folders import write_photos
from tests.helpers.split_images import write_images
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil


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


def samples(count: int, scale: torch.dtype = torch.uint8) -> Samples:
    images = torch.randint(256, (count, 1, 2, 2), generator=generator(count))
    images = images.to(torch.uint8) if scale == torch.uint8 else images / 255
    return Samples(images, torch.arange(count), torch.zeros(count).long(), (0.5,), (0.25,))


def test_an_epoch_visits_everything_once_and_the_next_in_another_order() -> None:
    loader = BatchLoader([samples(7), samples(4, torch.float32)], 4, generator(0, "order"))
    epochs = [[labels for _, labels, _ in loader] for _ in range(2)]
    assert [len(labels) for labels in epochs[0]] == [4, 4, 3]
    assert len(loader) == 3
    for epoch in epochs:
        assert sorted(torch.cat(epoch).tolist()) == sorted([*range(7), *range(4)])
    assert not torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))


def test_batches_hold_what_the_sources_do_whatever_their_scale() -> None:
    images = samples(5)
    floats = Samples(images.images / 255, images.labels, images.tasks, images.mean, images.std)
    loader = BatchLoader([images, floats], 4, generator(0))
    for batch, labels, _ in loader:
        torch.testing.assert_close(batch, images[labels].inputs())
    (batch, labels, _), *_ = BatchLoader([images], 3)
    assert labels.tolist() == [0, 1, 2]
    torch.testing.assert_close(batch, (images.images[:3] / 255 - 0.5) / 0.25)


def test_each_batch_has_its_share_of_the_memory() -> None:
    new, memory = samples(10), replace(samples(3), tasks=torch.ones(3).long())
    loader = RehearsalLoader(new, memory, 2, 5, generator(0))
    batches = list(loader)
    assert len(loader) == len(batches) == 4
    assert [int(old.sum()) for _, _, old in batches] == [2, 2, 2, 2]
    images, labels, old = (torch.cat(column) for column in zip(*batches, strict=True))
    assert sorted(labels[old == 0].tolist()) == list(range(10))
    assert sorted(labels[old == 1].bincount().tolist()) == [2, 3, 3]
    torch.testing.assert_close(images[old == 1], memory[labels[old == 1]].inputs())
    many = replace(samples(20), tasks=torch.ones(20).long())
    loader = RehearsalLoader(samples(10), many, 8, 10, generator(0))
    orders = [torch.cat([labels[old == 1] for _, labels, old in loader]).tolist() for _ in "ab"]
    assert orders[0] != orders[1], "the memory is shuffled too"


@pytest.mark.parametrize(("memory", "steps"), [(3, 2), (40, 2), (40, None)])
def test_a_share_of_a_small_or_large_memory_in_few_steps(memory: int, steps: int | None) -> None:
    loader = RehearsalLoader(samples(7), samples(memory), 1, 4, generator(0), steps)
    sizes = [len(labels) for _, labels, _ in loader]
    assert sizes == [4, 4, 2][: len(loader)]
    assert len(loader) == (steps or 3)


def test_an_epoch_of_few_steps_uses_a_random_part() -> None:
    loader = BatchLoader([samples(100)], 10, generator(0), steps=3)
    seen = [torch.cat([labels for _, labels, _ in loader]).tolist() for _ in range(2)]
    assert len(loader) == 3
    assert len(set(seen[0])) == 30
    assert set(seen[0]) != set(seen[1])


@pytest.mark.parametrize("scale", [torch.uint8, torch.float32])
@pytest.mark.parametrize("tensor_labels", [False, True])
def test_items_are_the_inputs_bit_for_bit(scale: torch.dtype, tensor_labels: bool) -> None:
    dataset = as_dataset(samples(3, scale), ItemFormat(tensor_labels=tensor_labels))
    for row, inputs in enumerate(samples(3, scale).inputs()):
        image, label, task = dataset[row]
        assert (int(label), task, isinstance(label, torch.Tensor)) == (row, 0, tensor_labels)
        assert torch.equal(image, inputs)
        assert image.dtype == torch.float32


def test_an_item_is_read_without_a_selection_of_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A selection for each item took five times as long as the item."""
    dataset = as_dataset(samples(3))
    monkeypatch.delattr(Samples, "__getitem__")
    monkeypatch.delattr(Samples, "constants")
    assert dataset[2][1] == 2


def test_task_heads_use_the_head_of_the_task() -> None:
    strategy = tiny_eeil("task")
    strategy.train(make_benchmark(tasks()[:2], "task").train_stream, eval_streams=[])
    model, images = strategy.model, torch.randn(4, 3, 16, 16, generator=generator(0))
    with torch.no_grad():
        first, second = model.logits(images)
        scores = model(images, torch.tensor([1, 0, 0, 1]))
    torch.testing.assert_close(scores, torch.stack([second[0], first[1], first[2], second[3]]))
    with torch.no_grad():
        every = model(images)  # as Avalanche's LwF plugin asks
    assert torch.equal(every[0], first)
    assert torch.equal(every[1], second)
    with pytest.raises(UserError, match="need task labels"):
        model.combine([first, second], None)


def test_a_task_that_grows_has_no_head_for_it() -> None:
    strategy = tiny_eeil("task")
    with pytest.raises(
        UserError, match="task 0 has a head of 10 classes and cannot learn class 19"
    ):
        strategy.train(make_benchmark(tasks()[:2], "class").train_stream, eval_streams=[])


def test_streams_that_make_no_sense() -> None:
    with pytest.raises(UserError, match="unknown head 'clas'; known: class"):
        make_benchmark(tasks(), "clas")
    with pytest.raises(UserError, match="the same image shape"):
        make_benchmark([tasks()[0], tasks()[1].resized(8, 3)])


def test_class_heads_grow_and_a_shared_head_does_not() -> None:
    stream = make_benchmark(tasks(), "class").train_stream
    growing, shared = tiny_eeil("class").model.train(), tiny_eeil("domain").model.train()
    for count, experience in enumerate(stream, 1):
        growing.adaptation(experience)
        assert growing.sizes == [10] * count
        assert growing.newest == count - 1
        assert growing(torch.randn(2, 3, 16, 16, generator=generator(0))).shape == (2, 10 * count)
    shared.adaptation(stream[0])
    shared.adaptation(stream[0])
    assert shared.sizes == [10]
    with pytest.raises(UserError, match="cannot learn class 19"):
        shared.adaptation(stream[1])


@pytest.mark.parametrize("network", [torch.nn.Linear(2, 2), SimpleCNN()])
def test_a_network_without_features_is_one_line(network: Any) -> None:
    kind = type(network).__name__
    with pytest.raises(UserError, match=rf"{kind} has no features .* make a ClassHeads of its"):
        with_heads("class", network)


def test_class_heads_take_classes_in_any_order() -> None:
    growing = tiny_eeil("class").model.train()
    images = torch.randn(2, 3, 16, 16, generator=generator(0))
    for classes in ({5, 2}, {2, 0}, {1}):
        growing.adaptation(SimpleNamespace(classes_in_this_experience=classes))
    assert growing.sizes == [2, 1, 1]
    assert growing.classes == [2, 5, 0, 1]
    found, heads = growing(images), torch.cat(growing.logits(images), 1)
    assert found.shape == (2, 6)
    assert torch.equal(found[:, [2, 5, 0, 1]], heads)
    assert (found[:, [3, 4]] == -torch.inf).all()


def test_evaluation_adds_no_head_and_weights_come_from_the_seed() -> None:
    experience = make_benchmark(tasks(), "class").train_stream[0]
    heads = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(heads))
        model = with_heads("class", _network(), seed)
        model.eval()
        model.adaptation(experience)
        assert not model.sizes
        model.train()
        model.adaptation(experience)
        heads.append(model.heads[0].weight)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])
    model.adaptation(make_benchmark(tasks(), "class").train_stream[1])
    assert not torch.equal(model.heads[1].weight, heads[2])


def _network() -> Classifier:
    return build(TINY_EEIL.network, (3, 16, 16), 10, generator(0))


def test_an_unknown_head_names_the_known() -> None:
    with pytest.raises(UserError, match="unknown kind of head 'clas'; known: class"):
        with_heads("clas", _network())
    assert set(HEADS) == {"domain", "task", "class"}
