"""The buffers and EEIL with Avalanche's own benchmarks, strategies and plugins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.benchmarks.scenarios import benchmark_from_datasets
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskLabels,
    TransformGroups,
    concat_datasets,
)
from avalanche.models import MTSimpleMLP
from avalanche.training.plugins import LwFPlugin, MIRPlugin, RARPlugin, ReplayPlugin
from avalanche.training.supervised import DER, ER_ACE, Naive
from torch.utils.data import DataLoader, Dataset, TensorDataset

from condense import UserError, build, generator, method_named
from continual import CondensedBuffer, HerdingBuffer, RandomBuffer, make_benchmark
from continual.exemplars import read
from tests.helpers.buffers import BUFFERS, agent
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")

SHUFFLED = ([3, 7], [0, 1], [9, 2])
"""Classes of three experiences, not in the order of the labels."""


class Images(Dataset[Any]):
    """(image, label) of some classes of the first task, with labels as int."""

    def __init__(self, classes: list[int], split: str) -> None:
        data = tasks()[0]
        labels = getattr(data, f"y_{split}")
        mine = torch.isin(labels, torch.tensor(classes))
        self.images = getattr(data, f"x_{split}")[mine] / 255
        self.targets = labels[mine].tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.images[row], self.targets[row]


def shuffled(task_labels: bool) -> Any:
    def dataset(classes: list[int], split: str) -> AvalancheDataset:
        images = Images(classes, split)
        attributes: list[Any] = [DataAttribute(images.targets, "targets")]
        if task_labels:
            attributes.append(TaskLabels([0] * len(images)))
        return AvalancheDataset([images], data_attributes=attributes)

    parts = {split: [dataset(some, split) for some in SHUFFLED] for split in ("train", "test")}
    return benchmark_from_datasets(**parts)


def strategy_with(kind: Any, memory: Any, outputs: int = 10, **arguments: Any) -> Any:
    """An Avalanche strategy whose storage policy is replaced by `memory`."""
    model = build(TINY_EEIL.network, (3, 16, 16), outputs, generator(0))
    strategy = kind(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        train_mb_size=16,
        evaluator=None,
        **arguments,
    )
    if memory is not None:
        strategy.storage_policy = memory
    return strategy


@pytest.mark.parametrize("task_labels", [True, False])
@pytest.mark.parametrize("kind", BUFFERS)
def test_eeil_on_datasets_with_classes_in_any_order(kind: str, task_labels: bool) -> None:
    strategy, benchmark = tiny_eeil("class", memory=BUFFERS[kind](12)), shuffled(task_labels)
    for experience in benchmark.train_stream:
        strategy.train(experience)
    strategy.eval(benchmark.test_stream)
    assert strategy.model.classes == [3, 7, 0, 1, 2, 9]
    kept = strategy.memory.samples.labels.bincount().tolist()
    assert kept == [2, 2, 2, 2, 0, 0, 0, 2, 0, 2]


def test_eeil_learns_the_classes_of_a_shuffled_nc_benchmark() -> None:
    train, test = (Images(list(range(10)), split) for split in ("train", "test"))
    benchmark = nc_benchmark(train, test, n_experiences=5, task_labels=False, seed=1)
    settings = method_named("dm").preset("smoke", network=TINY_EEIL.network)
    memory = CondensedBuffer(images_per_class=2, method="dm", settings=settings)
    strategy = tiny_eeil("class", memory=memory)
    strategy.train(benchmark.train_stream)
    logits = strategy.model(memory.samples.inputs())
    assert logits.shape == (20, 10)
    assert logits.isfinite().all()
    assert sorted(strategy.model.classes) == list(range(10))


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_eeil_beside_lwf(head: str) -> None:
    strategy = tiny_eeil(head, plugins=[LwFPlugin(alpha=1, temperature=2)])
    losses = []
    before = strategy.criterion
    strategy.criterion = lambda: losses.append(before()) or losses[-1]
    strategy.train(make_benchmark(tasks()[:2], head).train_stream)
    assert losses
    assert all(loss.isfinite() for loss in losses)


@pytest.mark.parametrize("kind", ["random", "condensed"])
def test_der_replays_the_stored_logits(kind: str) -> None:
    memory = BUFFERS[kind](20, store_logits=True)
    strategy = strategy_with(DER, memory, mem_size=20, batch_size_mem=8)
    for experience in make_benchmark(tasks()[:2]).train_stream:
        strategy.train(experience)
        newest = 20 // (experience.current_experience + 1)
        with torch.no_grad():
            said = strategy.model.eval()(memory.samples.inputs())[-newest:]
        kept = torch.stack([row[-1] for row in memory.buffer])[-newest:]
        torch.testing.assert_close(kept, said, atol=2e-3, rtol=2e-3)  # half precision


def test_der_with_a_growing_network_says_what_it_needs() -> None:
    memory = RandomBuffer(20, store_logits=True)
    for classes, experience in enumerate(make_benchmark(tasks()[:2], "class").train_stream, 1):
        memory.post_adapt(None, experience)
        memory.update_logits(experience, lambda kept, n=classes: torch.zeros(len(kept), 10 * n))
    with pytest.raises(UserError, match="use a network with all outputs"):
        len(memory.buffer)


def test_er_ace_mir_and_rar_use_the_buffer() -> None:
    strategy = strategy_with(ER_ACE, RandomBuffer(20), mem_size=20, batch_size_mem=8)
    strategy.train(shuffled(task_labels=True).train_stream)
    assert len(strategy.storage_policy.buffer) == 20
    for plugin in (MIRPlugin(4, mem_size=20, subsample=8), RARPlugin(4, mem_size=20)):
        plugin.storage_policy = RandomBuffer(20)
        strategy_with(Naive, None, plugins=[plugin]).train(shuffled(task_labels=True).train_stream)
        assert len(plugin.storage_policy.buffer) == 20


@pytest.mark.parametrize("task_labels", [True, False])
def test_replay_has_task_labels_where_the_benchmark_has_them(task_labels: bool) -> None:
    memory = RandomBuffer(20)
    plugin = ReplayPlugin(20, storage_policy=memory)
    strategy_with(Naive, None, plugins=[plugin]).train(shuffled(task_labels).train_stream)
    assert len(memory.buffer[0]) == 2 + task_labels


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_an_online_stream_with_a_small_memory(kind: str) -> None:
    """More groups than places: 12 small experiences with up to ten classes each."""
    stream = split_online_stream(make_benchmark(tasks()[:1]).train_stream, experience_size=10)
    memory = BUFFERS[kind](8, mean=tasks()[0].mean, std=tasks()[0].std)
    plugin = ReplayPlugin(8, storage_policy=memory)
    strategy = strategy_with(Naive, None, plugins=[plugin])
    for experience in stream:
        strategy.train(experience)
        assert len(memory.buffer) <= 8
    assert len(memory.buffer) == 8


@pytest.mark.parametrize("task_labels", [True, False])
def test_labels_that_are_tensors(task_labels: bool) -> None:
    """As those of a plain TensorDataset: a batch cannot have integers beside them."""

    def dataset(classes: list[int]) -> AvalancheDataset:
        images = Images(classes, "train")
        attributes: list[Any] = [DataAttribute(images.targets, "targets")]
        if task_labels:
            attributes.append(TaskLabels([0] * len(images)))
        plain = TensorDataset(images.images, torch.tensor(images.targets))
        return AvalancheDataset([plain], data_attributes=attributes)

    stream = benchmark_from_datasets(train=[dataset(some) for some in SHUFFLED]).train_stream
    memory = RandomBuffer(20)
    plugin = ReplayPlugin(20, storage_policy=memory)
    strategy_with(Naive, None, plugins=[plugin]).train(stream)
    assert len(memory.buffer) == 20


@pytest.mark.parametrize("old", [0, 5])
@pytest.mark.parametrize("kind", BUFFERS)
def test_a_new_class_beside_one_that_comes_again_has_its_share(kind: str, old: int) -> None:
    """Whatever the order of their labels."""

    def dataset(classes: list[int]) -> AvalancheDataset:
        images = Images(classes, "train")
        return AvalancheDataset(
            [images], data_attributes=[DataAttribute(images.targets, "targets")]
        )

    parts = [dataset(some) for some in ([old], [old], [old], [0, 5])]
    memory = BUFFERS[kind](12)
    for experience in benchmark_from_datasets(train=parts).train_stream:
        memory.post_adapt(agent(), experience)
    assert memory.samples.labels.bincount().tolist() == [6, 0, 0, 0, 0, 6]


def with_index(classes: list[int], task_labels: bool, in_items: bool) -> AvalancheDataset:
    images = Images(classes, "train")
    index = DataAttribute(list(range(100, 100 + len(images))), "index", use_in_getitem=in_items)
    attributes: list[Any] = [DataAttribute(images.targets, "targets"), index]
    if task_labels:
        attributes.append(TaskLabels([7] * len(images)))
    return AvalancheDataset([images], data_attributes=attributes)


@pytest.mark.parametrize("task_labels", [True, False])
def test_an_attribute_that_is_not_in_the_items_does_not_matter(task_labels: bool) -> None:
    parts = [with_index(some, task_labels, in_items=False) for some in SHUFFLED]
    memory = RandomBuffer(20)
    plugin = ReplayPlugin(20, storage_policy=memory)
    stream = benchmark_from_datasets(train=parts).train_stream
    strategy_with(Naive, None, plugins=[plugin]).train(stream)
    assert {group.task for group in memory.groups} == {7 if task_labels else 0}


@pytest.mark.parametrize("task_labels", [True, False])
def test_an_attribute_in_the_items_is_no_task_label(task_labels: bool) -> None:
    dataset = with_index([3, 7], task_labels, in_items=True)
    assert read(dataset).tasks.unique().tolist() == [7 if task_labels else 0]
    (experience,) = benchmark_from_datasets(train=[dataset]).train_stream
    with pytest.raises(UserError, match="also have index, which exemplars do not: make"):
        RandomBuffer(4).post_adapt(None, experience)


def test_images_in_double_precision() -> None:
    def dataset(classes: list[int]) -> AvalancheDataset:
        images = Images(classes, "train")
        images.images = images.images.double()
        attributes = [DataAttribute(images.targets, "targets"), TaskLabels([0] * len(images))]
        return AvalancheDataset([images], data_attributes=attributes)

    stream = benchmark_from_datasets(train=[dataset(some) for some in SHUFFLED]).train_stream
    memory = RandomBuffer(20)
    strategy = strategy_with(ER_ACE, memory, mem_size=20, batch_size_mem=8)
    strategy.model.double()
    strategy.train(stream)
    again = RandomBuffer(20)
    again.load_state_dict(memory.state_dict(), tasks()[0])
    assert memory.buffer[0][0].dtype == again.buffer[0][0].dtype == torch.float64


def test_a_loaded_memory_has_items_as_before() -> None:
    """Else the first batch of new images and exemplars cannot be collated."""
    one, *_ = shuffled(task_labels=False).train_stream
    memory, again = RandomBuffer(20), RandomBuffer(20)
    memory.post_adapt(None, one)
    again.load_state_dict(memory.state_dict(), tasks()[0])
    assert len(again.buffer[0]) == len(memory.buffer[0]) == 2


def test_a_benchmark_that_counts_from_0_again_replaces_nothing() -> None:
    """A benchmark for each domain, or an online stream of each experience."""
    memory = RandomBuffer(30, balance="experience")
    streams = [shuffled(task_labels=True).train_stream for _ in range(2)]
    for stream in streams:
        for experience in stream:
            memory.post_adapt(None, experience)
    assert {group.experience for group in memory.groups} == set(range(6))
    assert len(memory.buffer) == 30
    memory.post_adapt(None, streams[0][1])  # the same once more
    assert {group.experience for group in memory.groups} == set(range(6))


def test_the_training_transform_is_not_called() -> None:
    """It may draw from torch's global generator."""

    def crop(image: torch.Tensor) -> torch.Tensor:
        raise AssertionError

    images = Images([3, 7], "train")
    groups = TransformGroups({"train": (crop, None), "eval": (None, None)})
    targets = DataAttribute(images.targets, "targets")
    dataset = AvalancheDataset([images], data_attributes=[targets], transform_groups=groups)
    (experience,) = benchmark_from_datasets(train=[dataset]).train_stream
    RandomBuffer(4).post_adapt(None, experience)


@pytest.mark.parametrize("first", ["memory", "experience"])
def test_a_memory_can_be_concatenated_with_an_experience(first: str) -> None:
    dataset = TensorDataset(tasks()[0].x_train / 255, tasks()[0].y_train)
    dataset.targets = tasks()[0].y_train.tolist()  # type: ignore[attr-defined]
    stream = nc_benchmark(dataset, dataset, n_experiences=2, task_labels=False).train_stream
    memory = RandomBuffer(20)
    memory.post_adapt(None, stream[0])
    both = [memory.buffer, stream[1].dataset]
    joined = concat_datasets(both if first == "memory" else both[::-1])
    assert len(joined) == 20 + len(stream[1].dataset)
    assert len(DataLoader(joined, 32).__iter__().__next__()) == len(stream[1].dataset[0])


def test_scr_uses_the_exemplars_of_each_class() -> None:
    memory = RandomBuffer(20)
    memory.post_adapt(None, make_benchmark(tasks()).train_stream[0])
    assert [len(part) for part in memory.buffer_datasets] == [2] * 10


def test_learnt_soft_labels_are_not_in_the_items() -> None:
    """Those of each task are of its own classes: no loss of Avalanche could use them."""
    settings = method_named("ld").preset("smoke", iterations=1, storage="float32")
    memory = CondensedBuffer(40, method="ld", settings=settings)
    plugin = ReplayPlugin(40, storage_policy=memory)
    stream = make_benchmark(tasks()[:2], "class").train_stream
    strategy_with(Naive, None, outputs=20, plugins=[plugin]).train(stream)
    assert len(memory.buffer[0]) == 3
    assert memory.samples.logits is not None


def test_a_masked_head_of_avalanche_trains_on_tasks_with_labels_of_their_own() -> None:
    """It indexes with the classes of an experience, so these are a list."""
    model = MTSimpleMLP(input_size=3 * 16 * 16)
    memory = HerdingBuffer(20)
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        train_mb_size=32,
        evaluator=None,
        plugins=[ReplayPlugin(20, storage_policy=memory)],
    )
    stream = make_benchmark(tasks()[:2], "task").train_stream
    assert stream[1].previous_classes == stream[1].classes_in_this_experience == [*range(10)]
    strategy.train(stream)
    assert {group.task for group in memory.groups} == {0, 1}


def test_images_of_another_kind_are_one_line() -> None:
    class Numbers(Dataset[Any]):
        targets: ClassVar = [0, 1]

        def __len__(self) -> int:
            return 2

        def __getitem__(self, row: int) -> tuple[list[float], int]:
            return [0.5], row

    dataset = AvalancheDataset([Numbers()], data_attributes=[DataAttribute([0, 1], "targets")])
    (experience,) = benchmark_from_datasets(train=[dataset]).train_stream
    with pytest.raises(UserError, match="items of \\(image tensor \\[c, h, w\\], label\\)"):
        RandomBuffer(4).post_adapt(None, experience)


def test_a_second_pass_over_a_stream_stores_no_image_twice() -> None:
    """The streams of `nc_benchmark` make a new experience at each access."""
    splits = [Images(list(range(10)), split) for split in ("train", "test")]
    stream = nc_benchmark(*splits, 5, task_labels=False, seed=1).train_stream
    memory = RandomBuffer(images_per_class=3)
    for _ in range(2):
        for experience in stream:
            memory.post_adapt(None, experience)
        assert len(memory.buffer) == 30


@pytest.mark.parametrize("storage", ["pixels", "dct"])
def test_exemplars_of_integers_are_rounded_to_their_range(storage: Any) -> None:
    data = tasks()[0]
    images = TensorDataset(data.x_train, data.y_train)
    dataset = AvalancheDataset([images], data_attributes=[DataAttribute(data.y_train, "targets")])
    (experience,) = benchmark_from_datasets(train=[dataset]).train_stream
    memory = RandomBuffer(30, storage=storage, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    memory.post_adapt(None, experience)
    items = torch.stack([item[0] for item in memory.buffer])
    assert items.dtype == torch.uint8
    exact = (memory.samples.pixels() * 255).clamp(0, 255)
    torch.testing.assert_close(items.float(), exact, atol=0.51, rtol=0)


def test_exemplars_of_booleans_are_booleans() -> None:
    data = tasks()[0]
    images = TensorDataset(data.x_train > 127, data.y_train)
    dataset = AvalancheDataset([images], data_attributes=[DataAttribute(data.y_train, "targets")])
    (experience,) = benchmark_from_datasets(train=[dataset]).train_stream
    memory = RandomBuffer(30)
    memory.post_adapt(None, experience)
    real = {item[0].numpy().tobytes() for item in dataset}
    assert all(item[0].numpy().tobytes() in real for item in memory.buffer)


def test_exemplars_are_normalised_as_their_own_benchmark() -> None:
    data = tasks()[0]
    dark = replace(data, x_train=data.x_train // 3, mean=(0.1, 0.2, 0.3), std=(0.2, 0.1, 0.3))
    memory = RandomBuffer(24)
    for part in (data, dark):
        experience = make_benchmark([part]).train_stream[0]
        memory.post_adapt(None, experience)
        real = {item[0].mul(100).round().numpy().tobytes() for item in experience.dataset}
        kept = list(memory.buffer)[-12:]
        found = [item[0].mul(100).round().numpy().tobytes() in real for item in kept]
        assert sum(found) >= 10, "a value at a half may be rounded otherwise"
