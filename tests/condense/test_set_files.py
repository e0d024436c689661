"""Files that are no condensed set, or a damaged one."""

import json
import struct
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.condensed_set import CondensedSet
from condense.errors import UserError
from condense.runs.io import write_tensors
from tests.helpers.condensed_sets import (
    a_set,
    a_set_with_lrs,
    a_soft_set,
    soft_labels,
)


def broken(**changes):
    """Tensors and metadata of a file that is a condensed set but for `changes`."""
    small = a_set()
    tensors = {"images": small.images, "labels": small.labels}
    metadata = {
        "format": "condensed-set-1",
        "mean": json.dumps(small.mean),
        "std": json.dumps(small.std),
        "class_names": json.dumps(small.class_names),
        "provenance": "{}",
    }
    for name, value in changes.items():
        (tensors if isinstance(value, torch.Tensor) else metadata)[name] = value
    return tensors, metadata


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        (".npz", "is not a condensed set: give the .safetensors or .pt file$"),
        (".png", "is not a condensed set: give the .safetensors or .pt file$"),
        (".pt", "other.pt: `condense.load_set` reads .pt files$"),
        (".safetensors", "is damaged or not a safetensors file"),
        ("", "is damaged or not a safetensors file"),
    ],
)
def test_files_of_other_kinds(suffix, message, tmp_path):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(b"another kind of file")
    with pytest.raises(UserError, match=message):
        CondensedSet.load(path)


def test_a_set_may_have_another_suffix(tmp_path):
    a_set().save(tmp_path / "set.bin")
    assert CondensedSet.load(tmp_path / "set.bin").fingerprint() == a_set().fingerprint()


@pytest.mark.parametrize(
    "changes",
    [
        {"images": torch.zeros(6, 3, 8, 8, dtype=torch.uint8)},
        {"images": torch.zeros(6, 3, 8)},
        {"images": torch.full((6, 3, 8, 8), torch.nan)},
        {"labels": torch.zeros(6)},
        {"labels": torch.zeros(5, dtype=torch.int64)},
        {"labels": soft_labels().double()},
        {"labels": soft_labels()[:5]},
        {"labels": soft_labels(classes=6, ipc=1)},
        {"labels": soft_labels() * 1.001},
        {"labels": soft_labels() * torch.nan},
        {"labels": torch.tensor([[1.5, -0.5, 0.0]] * 6)},
        {"labels": torch.tensor([[torch.inf, 0.0, 0.0]] * 6)},
        {"labels": soft_labels(ipc=3)[:7], "images": torch.zeros(7, 3, 8, 8)},
        {"labels": torch.tensor([0, 0, 1, 1, 3, 3])},
        {"labels": torch.tensor([0, 0, 0, 1, 1, 1])},
        {"format": "something"},
        {"mean": "[0.5]"},
        {"std": "[0.5, 0.0, 0.5]"},
        {"std": "nonsense"},
        {"std": "[0.5, NaN, 0.5]"},
        {"mean": "[1" + "0" * 400 + ", 0.5, 0.5]"},
        {"provenance": "[" * 100_000},
        {"images": torch.zeros(6, 2, 8, 8), "mean": "[0, 0]", "std": "[1, 1]"},
        {"distill_lrs": torch.ones(2)},
        {"distill_lrs": torch.ones(2, 0)},
        {"distill_lrs": torch.ones(1, 2).double()},
        {"distill_lrs": torch.zeros(1, 2)},
        {"distill_lrs": torch.full((1, 2), torch.inf)},
        {"distill_lrs": torch.ones(1, 4)},
        {"distill_lrs": torch.ones(1, 2), "labels": torch.tensor([0, 1, 2, 0, 1, 2])},
        {"images": torch.zeros(6, 3, 0, 8)},
        {"class_names": "[]"},
        {"class_names": "[1, 2, 3]"},
        {"provenance": "[]"},
    ],
)
def test_what_is_no_condensed_set_is_said_in_one_line(tmp_path, changes):
    path = tmp_path / "set.safetensors"
    write_tensors(path, *broken(**changes))
    with pytest.raises(UserError, match=r"set\.safetensors is not a condensed set: .+") as error:
        CondensedSet.load(path)
    assert "\n" not in str(error.value)


def test_a_missing_file():
    with pytest.raises(UserError, match="no such file"):
        CondensedSet.load("nowhere.safetensors")


@pytest.mark.parametrize("error", [0.9e-4, -0.9e-4])
def test_soft_labels_may_be_rounded(tmp_path, error):
    path = tmp_path / "set.safetensors"
    labels = torch.tensor([[0.5 + error, 0.25, 0.25]] * 6)
    write_tensors(path, *broken(labels=labels))
    assert torch.equal(CondensedSet.load(path).labels, labels)


@pytest.fixture(scope="module", params=[a_set, a_soft_set, a_set_with_lrs])
def whole(tmp_path_factory, request):
    path = tmp_path_factory.mktemp("sets") / "whole.safetensors"
    request.param().save(path)
    return path.read_bytes()


@given(st.data())
def test_no_damage_is_anything_but_a_user_error(whole, tmp_path_factory, data):
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    kind = data.draw(st.sampled_from(["cut", "flip", "noise"]))
    if kind == "cut":
        content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "flip":
        place = data.draw(st.integers(0, header - 1))
        content = (
            whole[:place]
            + bytes([whole[place] ^ data.draw(st.integers(1, 255))])
            + whole[place + 1 :]
        )
    else:
        content = data.draw(st.binary(max_size=200))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    if kind == "flip":  # may leave a set that is as good
        with suppress(UserError):
            assert CondensedSet.load(path).images.shape == (6, 3, 8, 8)
    else:
        with pytest.raises(UserError, match=r"^[^\n]+$"):
            CondensedSet.load(path)


def test_a_rounded_label_without_a_class_is_refused(tmp_path):
    path = tmp_path / "set.safetensors"
    labels = torch.zeros(6, 3, dtype=torch.uint8)
    write_tensors(path, *broken(labels=labels))
    with pytest.raises(UserError, match="no probability above 0"):
        CondensedSet.load(path)
