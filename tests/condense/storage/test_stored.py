from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.data.loading import load
from condense.errors import UserError
from condense.methods.selection import random_coreset
from condense.runs.checkpointer import Checkpointer
from condense.runs.io import read_tensors, write_tensors
from condense.storage import capacity
from condense.storage.capacity import LABEL_BYTES, codec_of, images_per_class
from condense.storage.dct import Spectrum
from condense.system.memory import check_memory
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets

SMALL = {"storage": "ycbcr420", "factor": 2}
DCT = {"storage": "dct", "image_bytes": 12}


def colours() -> object:
    return blobs(shape=(3, 8, 8), per_class=60)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 2),
        ({"storage": "pixels"}, 2),
        ({"storage": "pixels", "factor": 2}, 2 * 192 // 48),
        (SMALL, 2 * 192 // (16 + 8)),
        ({**SMALL, "labels": "soft"}, 2 * 192 // (16 + 8 + 3 * LABEL_BYTES)),
        ({"labels": "soft"}, 2),
    ],
)
def test_the_number_of_images_by_hand(changes: dict[str, object], count: int) -> None:
    assert images_per_class(colours(), Coreset(ipc=2, **changes)) == count


def test_a_soft_label_may_be_larger_than_the_image() -> None:
    settings = Coreset(ipc=1, storage="pixels", labels="soft")
    with pytest.raises(UserError, match="choose a larger --ipc"):
        images_per_class(blobs(classes=3, shape=(1, 2, 2)), settings)


@pytest.mark.parametrize(
    "changes", [{"storage": "pixels"}, {"storage": "pixels", "factor": 2}, SMALL, DCT]
)
def test_a_set_is_what_its_file_holds(changes: dict[str, object], tmp_path: Path) -> None:
    small = condense(colours(), "random", ipc=2, **changes)
    small.save(tmp_path / "set.safetensors")
    again = CondensedSet.load(tmp_path / "set.safetensors")
    assert same_sets(again, small)
    assert again.bytes == small.bytes
    assert "tensor(" not in repr(again.stored)
    tensors, _ = read_tensors(tmp_path / "set.safetensors")
    size = codec_of(colours(), Coreset(ipc=2, **changes)).bytes_per_image
    stored = [tensor for tensor in tensors.values() if tensor.dtype == torch.uint8]
    assert sum(t.nbytes for t in stored if len(t) == len(small.images)) == size * len(small.images)


def test_the_table_of_coefficients_counts() -> None:
    """All bytes of the file but hard labels and names fit into the bytes of `ipc` whole images."""
    for labels in ("hard", "soft"):
        settings = Coreset(ipc=4, labels=labels, network=Network(width=4), teacher_steps=1, **DCT)
        small = condense(colours(), "random", settings)
        codec = codec_of(colours(), settings)
        each = codec.bytes_per_image + (3 if labels == "soft" else 0)
        assert small.images_per_class == (4 * 192 - -(-codec.table_bytes // 3)) // each
        assert 0 <= 4 * 192 * 3 - small.bytes < 3 * (each + 1)


def assert_refused_if_changed(
    storage: dict[str, object], name: str, change: object, folder: Path
) -> None:
    """A file in which one tensor is changed is not a condensed set."""
    path = folder / "set.safetensors"
    condense(colours(), "random", ipc=4, **storage).save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, {**tensors, name: change(tensors[name]).contiguous()}, metadata)
    with pytest.raises(UserError, match="is not a condensed set"):
        CondensedSet.load(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("coefficients", lambda t: t[:, 1:]),
        ("coefficients", lambda t: t.float()),
        ("coefficients.kept", lambda t: t * 0),
        ("coefficients.kept", lambda t: t * 0 + 255),
        ("coefficients.kept", lambda t: t[:0]),
        ("coefficients.kept", lambda t: t.sum()),
        ("coefficients.kept", lambda t: t.to(torch.int8)),
        ("coefficients.bits", lambda t: t * 0),
        ("coefficients.bits", lambda t: t * 0 + 9),
        ("coefficients.bits", lambda t: t[1:]),
        ("coefficients.exponents", lambda t: t.float()),
        ("coefficients.offsets", lambda t: t[1:]),
        ("coefficients.variance", lambda t: t * torch.nan),
        ("coefficients.variance", lambda t: t[:0]),
        ("coefficients.offsets", lambda t: t.float() * torch.nan),
    ],
)
def test_damaged_coefficients_are_one_line(name: str, change: object, tmp_path: Path) -> None:
    assert_refused_if_changed(DCT, name, change, tmp_path)


def test_whole_pixels_are_the_real_ones() -> None:
    whole = condense(colours(), "random", ipc=2, storage="float32")
    stored = condense(colours(), "random", ipc=2, storage="pixels")
    torch.testing.assert_close(stored.images, whole.images, atol=1e-6, rtol=0)
    assert stored.bytes < whole.bytes / 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plane0", lambda t: t.float()),
        ("plane0", lambda t: t[:, :, 1:]),
        ("plane1", lambda t: t[1:]),
        ("plane0.low", lambda t: t * torch.nan),
        ("plane0.low", lambda t: t + 1e9),
        ("plane1.high", lambda t: t[:1]),
    ],
)
def test_a_damaged_plane_is_one_line(name: str, change: object, tmp_path: Path) -> None:
    assert_refused_if_changed(SMALL, name, change, tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("factor", value) for value in ("0", "-1", "17", "x", "1")),
        *(("shape", value) for value in ("[3, 8]", "[2, 8, 8]", "[3, 0, 8]", "[3, 80000, 80000]")),
        ("storage", "jpeg"),
        ("mean", "[0.5]"),
        ("std", "[1, 1, 0]"),
    ],
)
def test_damaged_metadata_is_one_line(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "set.safetensors"
    condense(colours(), "random", ipc=2, **SMALL).save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, tensors, {**metadata, key: value})
    with pytest.raises(UserError, match="is not a condensed set"):
        CondensedSet.load(path)


def test_images_that_exceed_the_memory_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "set.safetensors"
    condense(colours(), "random", ipc=4, **DCT).save(path)
    tensors, metadata = read_tensors(path)
    images = 4 * 3 * 8 * 8 * len(CondensedSet.load(path).images)

    def check(needed: int, what: str) -> None:
        assert needed == 4 * images
        check_memory(10**15, what)

    monkeypatch.setattr("condense.storage.stored.check_memory", check)
    with pytest.raises(UserError, match="decoding these images needs"):
        CondensedSet.load(path)
    write_tensors(path, tensors, {**metadata, "shape": "[3, 90000, 90000]"})
    with pytest.raises(UserError, match="kept coefficients are"):  # the table has another size
        CondensedSet.load(path)


def test_a_class_with_few_images() -> None:
    """A coreset has as many as every class has; learnt images begin with repeated ones."""
    data = blobs(shape=(3, 8, 8), per_class=5)
    assert condense(data, "random", ipc=2, **SMALL).images_per_class == 5
    learnt = condense(data, "dm", preset="smoke", ipc=2, iterations=1, **SMALL)
    assert learnt.images_per_class == 16
    with pytest.raises(UserError, match="fewer than 6"):
        condense(data, "dm", preset="smoke", ipc=6, **SMALL)


def test_dd_and_ld_say_what_they_cannot() -> None:
    with pytest.raises(UserError, match="dd learns learning rates"):
        condense(colours(), "dd", factor=2)
    with pytest.raises(UserError, match="ld learns its own"):
        condense(colours(), "ld", labels="soft")
    assert replace(Coreset(), factor=16).factor == 16
    with pytest.raises(UserError, match="factor must be at most 16"):
        Coreset(factor=17)


@pytest.mark.parametrize("labels", ["hard", "soft"])
def test_a_class_with_few_images_gets_better_ones(labels: Literal["hard", "soft"]) -> None:
    """The bytes that all images of the smallest class leave are spent on better images."""
    data = load("digits")
    few = data.train_subset(torch.cat([row[:15] for row in data.train_indices_by_class()]))
    settings = Coreset(ipc=10, storage="dct", labels=labels)
    small = codec_of(data, settings)
    codec = codec_of(few, settings)
    assert codec.bytes_per_image > small.bytes_per_image
    assert images_per_class(few, settings) == 15
    kept = random_coreset(few, settings, 0, Checkpointer())
    assert kept.images_per_class == 15
    first, *others = data.train_indices_by_class()
    uneven = data.train_subset(torch.cat([first[:15], *others]))
    assert 15 <= images_per_class(uneven, settings) <= 16
    whole = 10 * 10 * 64
    assert 0.9 * whole < kept.bytes + (150 * 10 if labels == "soft" else 0) <= whole


def test_enough_images_get_better(monkeypatch: pytest.MonkeyPatch) -> None:
    data, settings = load("digits"), Coreset(ipc=10, storage="dct")
    many = images_per_class(data, settings)
    monkeypatch.setattr(capacity, "ENOUGH", many // 2)
    assert many // 2 <= images_per_class(data, settings) <= many // 2 + 1
    assert images_per_class(data, replace(settings, image_bytes=19)) == many


@pytest.mark.parametrize("order", ["sorted", "in turn"])
def test_the_statistics_are_those_of_all_classes(
    order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a sample from the whole training split, whether the classes are sorted or take turns."""
    data = colours()
    rows = torch.stack([rows[:21] for rows in data.train_indices_by_class()])
    data = data.train_subset((rows if order == "sorted" else rows.T).flatten())
    step = data.classes  # of images in turn it would meet one class only
    monkeypatch.setattr(capacity, "SAMPLE", len(data.x_train) // step)
    seen: list[torch.Tensor] = []
    statistics = Spectrum.of

    def noted(batches: Iterable[torch.Tensor], std: Sequence[float]) -> Spectrum:
        seen.extend(batches)
        return statistics(seen, std)

    monkeypatch.setattr(Spectrum, "of", noted)
    codec_of(data, Coreset(ipc=2, storage="dct"))
    sampled = torch.cat([rows[::step] for rows in data.train_indices_by_class()])
    assert torch.equal(torch.cat(seen), data.normalise(data.x_train[sampled]))
