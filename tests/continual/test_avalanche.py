"""The buffers and EEIL with Avalanche's own benchmarks, strategies and plugins."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.benchmarks.scenarios import benchmark_from_datasets
from avalanche.benchmarks.scenarios.online import split_online_stream
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute, TaskLabels
from avalanche.training.plugins import LwFPlugin, MIRPlugin, ReplayPlugin
from avalanche.training.supervised import DER, ER_ACE, Naive
from torch.utils.data import Dataset

from condense import UserError, build, generator, method_named
from continual import CondensedBuffer, RandomBuffer, make_benchmark
from tests.helpers.buffers import BUFFERS
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


def strategy_with(kind: Any, memory: Any, **arguments: Any) -> Any:
    """An Avalanche strategy whose storage policy is replaced by `memory`."""
    model = build(TINY_EEIL.network, (3, 16, 16), 10, generator(0))
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


def test_er_ace_and_mir_use_the_buffer() -> None:
    strategy = strategy_with(ER_ACE, RandomBuffer(20), mem_size=20, batch_size_mem=8)
    strategy.train(shuffled(task_labels=True).train_stream)
    assert len(strategy.storage_policy.buffer) == 20
    plugin = MIRPlugin(batch_size_mem=4, mem_size=20, subsample=8)
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
