from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset
from condense.errors import UserError
from condense.runs.io import read_tensors, write_tensors
from condense.storage.capacity import LABEL_BYTES, codec_of, images_per_class
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets

SMALL = {"storage": "ycbcr420", "factor": 2}


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
    "changes", [{"storage": "pixels"}, {"storage": "pixels", "factor": 2}, SMALL]
)
def test_a_set_is_what_its_file_holds(changes: dict[str, object], tmp_path: Path) -> None:
    small = condense(colours(), "random", ipc=2, **changes)
    small.save(tmp_path / "set.safetensors")
    again = CondensedSet.load(tmp_path / "set.safetensors")
    assert same_sets(again, small)
    assert again.bytes == small.bytes
    tensors, _ = read_tensors(tmp_path / "set.safetensors")
    numbers = codec_of(colours(), Coreset(ipc=2, **changes)).numbers
    assert sum(t.nbytes for t in tensors.values() if t.dtype == torch.uint8) == (
        numbers * len(small.images)
    )


def test_whole_pixels_are_the_real_ones() -> None:
    whole = condense(colours(), "random", ipc=2)
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
    path = tmp_path / "set.safetensors"
    condense(colours(), "random", ipc=2, **SMALL).save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, {**tensors, name: change(tensors[name]).contiguous()}, metadata)
    with pytest.raises(UserError, match="is not a condensed set"):
        CondensedSet.load(path)


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


def test_a_class_with_few_images() -> None:
    """A coreset has as many as every class has; learnt images begin with repeated ones."""
    data = blobs(shape=(3, 8, 8), per_class=5)
    assert condense(data, "random", ipc=2, **SMALL).ipc == 5
    learnt = condense(data, "dm", preset="smoke", ipc=2, iterations=1, **SMALL)
    assert learnt.ipc == 16
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
