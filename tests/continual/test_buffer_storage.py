"""How a buffer stores its images: sizes, codecs and bytes."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from condense import Coreset, codec_of, load
from continual import RandomBuffer, make_benchmark
from tests.helpers.buffers import BUFFERS, WHOLE, agent, counts, first
from tests.helpers.tiny_streams import tasks


@pytest.mark.parametrize("first_count", [2, 12])
def test_all_classes_of_a_task_have_smaller_images_whichever_comes_first(first_count: int) -> None:
    data = tasks()[0].with_classes([0, 1])
    rows = [
        row[:count]
        for row, count in zip(data.train_indices_by_class(), (first_count, 12), strict=True)
    ]
    stream = [
        data.train_subset(torch.cat(rows)),
        *[tasks()[n].with_classes([2, 3]) for n in (1, 2)],
    ]
    buffer = RandomBuffer(6, storage="dct")
    for experience in make_benchmark(stream, "class").train_stream:
        buffer.post_adapt(agent(), experience)
    mine, other = (kept for group, kept in buffer.groups.items() if group.experience == 0)
    assert (len(mine), len(other)) == (first_count, 12)


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_a_factor_stores_more_and_smaller_images_in_the_same_bytes(kind: str) -> None:
    whole, parts = (BUFFERS[kind](10, factor=side) for side in (1, 2))
    for buffer in (whole, parts):
        buffer.post_adapt(agent(), first())
    assert counts(parts) == [4] * 10
    assert parts.bytes == whole.bytes == 10 * WHOLE
    assert parts.samples.inputs().shape == (40, 3, 16, 16)
    assert parts.buffer[0][0].shape == (3, 16, 16)


def test_small_images_are_real_ones_made_small_and_enlarged_again() -> None:
    buffer, data = RandomBuffer(images_per_class=1, factor=3), tasks()[0]
    buffer.post_adapt(agent(), first())
    shrunk = F.interpolate(data.x_train / 255, (5, 5), mode="bilinear", antialias=True)
    near = F.interpolate((shrunk * 255).round() / 255, (16, 16), mode="bilinear")
    kept = buffer.samples.pixels()
    distances = (kept[:, None] - near[None]).abs().amax((2, 3, 4)).amin(1)
    assert distances.max() < 1e-5
    mean, std = torch.tensor([data.mean, data.std])[:, :, None, None]
    torch.testing.assert_close(buffer.samples.inputs(), (kept - mean) / std)


@pytest.mark.parametrize("storage", ["dct", "ycbcr420"])
@pytest.mark.parametrize("size", [{"images_per_class": 2}, {"max_size": 20}])
def test_another_storage_keeps_more_images_in_the_bytes(storage: Any, size: Any) -> None:
    buffer, data = RandomBuffer(storage=storage, **size), tasks()[0]
    buffer.post_adapt(agent(), first())
    assert 20 < len(buffer.samples) <= 120
    assert 0.8 * 20 * WHOLE < buffer.bytes <= 20 * WHOLE or len(buffer.samples) == 120
    codec = codec_of(data, Coreset(ipc=2, storage=storage), most=12)
    stored = codec.decode(codec.unpack(codec.pack(codec.encode(data.normalise(data.x_train)))))
    kept = buffer.samples.inputs()
    nearest = (kept[:, None] - stored[None]).abs().amax((2, 3, 4)).amin(1)
    assert nearest.max() < 1e-4


@pytest.mark.parametrize("total", [20, 35])
def test_a_total_with_another_storage_stays_below_its_bytes(total: int) -> None:
    buffer = RandomBuffer(total, storage="dct")
    for experience in make_benchmark(tasks(), "class").train_stream:
        buffer.post_adapt(agent(), experience)
        assert buffer.bytes <= total * WHOLE
        experiences = {group.experience for group in buffer.groups}
        assert len(experiences) == experience.current_experience + 1


def test_a_smaller_share_is_worse_images_before_it_is_fewer() -> None:
    data, buffer = tasks()[0], RandomBuffer(80, storage="dct")
    buffer.post_adapt(agent(), first())
    before = dict(buffer.groups)
    sizes = []
    for total in (60, 30, 10, 2):
        buffer.resize(agent(), total)
        assert buffer.bytes <= total * WHOLE
        (codec,) = {kept.codec for kept in buffer.groups.values()}
        sizes.append((codec.bytes_per_image, len(buffer.samples)))
    images, sides = zip(*sizes, strict=True)
    assert list(images) == sorted(images, reverse=True)
    assert sides[0] == 120
    assert sides[-1] < 120
    worse = next(iter(buffer.groups.values()))
    better = next(iter(before.values()))[: len(worse)]
    error = (worse.pixels() - better.pixels()).square().mean() / (data.x_train / 255).var()
    assert 0.001 < error < 0.3


@pytest.mark.parametrize("total", [10, 12, 15])
def test_no_class_is_lost_to_the_tables_of_others(total: int) -> None:
    """The table of the coefficients of MNIST takes more than a whole image."""
    data, buffer = load("mnist5k"), RandomBuffer(total, storage="dct")
    stream = [data.with_classes([label]) for label in range(10)]
    for experience in make_benchmark(stream, "class").train_stream:
        buffer.post_adapt(agent(), experience)
        assert len({group.label for group in buffer.groups}) == experience.current_experience + 1
        assert buffer.bytes <= total * 28 * 28


def test_a_smaller_memory_holds_no_more_than_its_bytes() -> None:
    """A slice of the first images would keep the memory of all that were there before."""
    buffer = RandomBuffer(100)
    for experience in make_benchmark(tasks(), "class").train_stream:
        buffer.post_adapt(agent(), experience)
    held = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for kept in buffer.groups.values()
        for tensor in (kept.tensors[name] for name in kept.codec.row_tensors)
    }
    assert sum(held.values()) == buffer.bytes == 100 * WHOLE
    len(buffer.buffer)  # decodes the images
    assert len(pickle.dumps(buffer)) < 2 * buffer.bytes
