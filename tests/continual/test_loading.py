"""Batches of new images and of the memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from condense import generator
from continual.exemplars import ItemFormat, Samples, as_dataset
from continual.loading import BatchLoader, RehearsalLoader


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
