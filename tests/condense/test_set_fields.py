"""Sets from tensors, and sets of several sets, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense.condensed_set import CondensedSet
from condense.errors import UserError
from condense.export.formats import export
from condense.seeds import generator
from condense.zoo import load_named, zoo_names

PIXELS = torch.rand(4, 3, 8, 8, generator=generator(0))
LABELS = torch.tensor([0, 0, 1, 1])
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
NORMALISED = (PIXELS - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def test_pixels_and_normalised_images_give_the_same_set() -> None:
    pixels = CondensedSet.from_tensors(PIXELS, LABELS.int(), mean=MEAN, std=STD)
    normalised = CondensedSet.from_tensors(NORMALISED, LABELS, mean=MEAN, std=STD)
    assert torch.equal(pixels.images, PIXELS)
    torch.testing.assert_close(normalised.images, PIXELS)
    assert (pixels.mean, pixels.std, pixels.class_names) == (MEAN, STD, ("0", "1"))
    assert normalised.labels.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64])
def test_integers_above_1_are_pixels_up_to_255(dtype: torch.dtype) -> None:
    pixels = (PIXELS * 255).to(dtype)
    made = CondensedSet.from_tensors(pixels, LABELS, mean=MEAN, std=STD)
    torch.testing.assert_close(made.images, pixels.float() / 255)
    whole = CondensedSet.from_tensors((PIXELS > 0.5).to(torch.int64), LABELS, mean=MEAN, std=STD)
    assert whole.images.unique().tolist() == [0, 1]


def test_labels_in_rows_are_soft_labels() -> None:
    one_hot = torch.eye(2, dtype=torch.int64)[LABELS]
    levels = (one_hot * 255).to(torch.uint8)
    for labels in (one_hot, one_hot.bool(), one_hot.to(torch.uint8), levels):
        made = CondensedSet.from_tensors(PIXELS, labels, mean=MEAN, std=STD)
        assert torch.equal(made.targets, one_hot.float())
    again = CondensedSet.from_tensors(made.images, made.labels, mean=MEAN, std=STD)
    assert torch.equal(again.labels, levels)
    with pytest.raises(UserError, match="soft labels are not rows of probabilities that sum to 1"):
        CondensedSet.from_tensors(PIXELS, 3 * one_hot)


def test_what_other_code_does_to_its_tensors_later_changes_no_set() -> None:
    images, labels = PIXELS.clone().requires_grad_(), LABELS.clone()
    made = CondensedSet.from_tensors(images, labels)
    before = made.fingerprint()
    with torch.no_grad():
        images.zero_()
        labels.zero_()
    assert made.fingerprint() == before
    assert not made.images.requires_grad


def exported(condensed: CondensedSet, path: Path) -> CondensedSet:
    """The set of an npz export, as docs/using-a-set.md reads it."""
    export(condensed, "npz", path)
    arrays = np.load(path)
    return CondensedSet.from_tensors(
        arrays["images"][::-1].copy()[::-1],  # with a stride below 0
        arrays["labels" if condensed.labels.ndim == 1 else "soft_labels"],
        mean=arrays["mean"],
        std=arrays["std"],
        class_names=arrays["class_names"],
        normalised=False,
    )


@pytest.mark.parametrize("name", zoo_names())
def test_an_export_of_a_set_of_the_zoo_is_the_set_again(name: str, tmp_path: Path) -> None:
    """The pixels of mnist-dsa-1 look as if they were normalised."""
    before = load_named(name)
    after = exported(before, tmp_path / "set.npz")
    assert after.fingerprint() == before.fingerprint()
    assert after.class_names == before.class_names


@pytest.mark.parametrize("condensed", ["hard", "soft"])
def test_an_export_for_numpy_is_the_set_again(tmp_path: Path, condensed: str) -> None:
    labels = LABELS if condensed == "hard" else torch.eye(2)[LABELS]
    before = CondensedSet(PIXELS, labels, MEAN, STD, ("a", "b"))
    after = exported(before, tmp_path / "set.npz")
    assert after.fingerprint() == before.fingerprint()
    assert after.class_names == ("a", "b")
    assert after.mean == MEAN


def test_pixels_that_leave_their_range_are_no_normalised_ones() -> None:
    """Images that are optimised without limits do so; their mean is that of real images."""
    wide = (PIXELS - 0.5) * 3 + 0.5
    assert torch.equal(CondensedSet.from_tensors(wide, LABELS, mean=MEAN, std=STD).images, wide)
    told = CondensedSet.from_tensors(wide, LABELS, mean=MEAN, std=STD, normalised=True)
    assert not torch.equal(told.images, wide)
    with pytest.raises(UserError, match=r"give the mean and std .*, or normalised=False"):
        CondensedSet.from_tensors(wide, LABELS)


def test_a_guess_that_images_are_normalised_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for pixels in (PIXELS, PIXELS * 3):
        CondensedSet.from_tensors(pixels, LABELS, mean=MEAN, std=STD)
    CondensedSet.from_tensors(NORMALISED, LABELS, mean=MEAN, std=STD, normalised=True)
    assert capsys.readouterr().err == ""
    CondensedSet.from_tensors(NORMALISED, LABELS, mean=MEAN, std=STD)
    told = capsys.readouterr().err
    assert told.startswith("note: images have values from -")
    assert told.endswith("; if they are pixels, give normalised=False\n")


def test_without_constants_those_of_the_images_are_taken() -> None:
    made = CondensedSet.from_tensors(PIXELS, LABELS)
    assert made.mean == pytest.approx(PIXELS.mean((0, 2, 3)).tolist())
    assert made.std == pytest.approx(PIXELS.std((0, 2, 3), correction=0).tolist())


def test_names_of_classes_become_text() -> None:
    made = CondensedSet.from_tensors(PIXELS, LABELS, class_names=np.array([3, 7]))
    assert made.class_names == ("3", "7")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_probabilities_in_half_precision_stay_probabilities(
    dtype: torch.dtype, capsys: pytest.CaptureFixture[str]
) -> None:
    soft = (4 * torch.randn(100, 10, generator=generator(0))).softmax(1)
    for rounded in (soft.to(dtype), (soft * 1000).round() / 1000):
        labels = CondensedSet.from_tensors(torch.rand(100, 1, 8, 8), rounded).labels
        torch.testing.assert_close(labels, soft, atol=5e-3, rtol=0)
        torch.testing.assert_close(labels.sum(1), torch.ones(100))
    assert "logits" not in capsys.readouterr().err


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.uint8, torch.float64])
@pytest.mark.parametrize("column", [True, False])
def test_class_numbers_in_any_form_are_hard_labels(dtype: torch.dtype, column: bool) -> None:
    numbers = torch.arange(20) % 4
    given = (numbers[:, None] if column else numbers).to(dtype)
    made = CondensedSet.from_tensors(torch.rand(20, 1, 8, 8), given)
    assert made.labels.equal(numbers)
    assert made.classes == 4


def test_soft_labels_are_probabilities_or_logits() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.5], [-1.0, 3.0], [0.0, 1.0]])
    for given in (logits, logits.softmax(1)):
        made = CondensedSet.from_tensors(PIXELS, given)
        torch.testing.assert_close(made.labels, logits.softmax(1))


def test_soft_labels_in_any_order_are_sorted_with_their_images() -> None:
    """Within a class the order stays, here that of rows 1, 2 and of rows 0, 3."""
    soft = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.5, 0.5], [0.4, 0.6]])
    made = CondensedSet.from_tensors(PIXELS, soft)
    assert torch.equal(made.labels, soft[[1, 2, 0, 3]])
    assert torch.equal(made.images, PIXELS[[1, 2, 0, 3]])
    assert made.labels.argmax(1).equal(made.hard_labels)


def test_learnt_soft_labels_keep_their_places() -> None:
    """One image has another most probable class than that which it was made for."""
    soft = torch.tensor([[0.2, 0.8], [0.9, 0.1], [0.3, 0.7], [0.4, 0.6]])
    made = CondensedSet.from_tensors(PIXELS, soft)
    assert torch.equal(made.labels, soft)
    assert torch.equal(made.images, PIXELS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": PIXELS[0]}, r"images are torch.float32 \[3, 8, 8\]"),
        ({"images": PIXELS * torch.nan}, "NaN"),
        ({"images": [["a"]]}, "images cannot be read as a tensor"),
        ({"images": [[1.0], [1.0, 2.0]]}, "images cannot be read as an array"),
        ({"images": PIXELS[:0], "labels": LABELS[:0]}, "images are empty"),
        ({"labels": LABELS[:3]}, r"labels are torch.int64 \[3\]"),
        ({"labels": LABELS * 2}, "labels are not 0 to 1"),
        ({"class_names": ["a"]}, "labels are not 0 to 0"),
        ({"class_names": ["a", "a"]}, "two classes have the same name"),
        ({"class_names": ["a", "b\n"]}, "cannot be shown"),
        ({"mean": (0.5,), "std": (0.5,)}, "not one number per channel"),
        ({"mean": 0.5, "std": 0.5}, "not one number per channel"),
        ({"mean": MEAN, "std": (0.0, 1.0, 1.0)}, "std is not above 0"),
    ],
)
def test_tensors_that_are_no_set(changes: dict[str, Any], message: str) -> None:
    given = {"images": PIXELS, "labels": LABELS, **changes}
    with pytest.raises(UserError, match=message):
        CondensedSet.from_tensors(**given)


def parts() -> list[CondensedSet]:
    """Two classes with two images each, and one class with one image."""
    return [
        CondensedSet(PIXELS, LABELS, MEAN, STD, ("a", "b"), {"method": "dsa"}),
        CondensedSet(PIXELS[:1], LABELS[:1], MEAN, STD, ("c",), {"method": "dm"}),
    ]


def test_merged_sets_count_their_labels_on(tmp_path: Any) -> None:
    merged = CondensedSet.merge(part for part in parts())
    assert merged.labels.tolist() == [0, 0, 1, 1, 2]
    assert torch.equal(merged.images, torch.cat([PIXELS, PIXELS[:1]]))
    assert (merged.class_names, merged.mean, merged.std) == (("a", "b", "c"), MEAN, STD)
    assert merged.provenance == {"merged": [{"method": "dsa"}, {"method": "dm"}]}
    merged.save(tmp_path / "merged.safetensors")
    assert torch.equal(CondensedSet.load(tmp_path / "merged.safetensors").labels, merged.labels)


def test_merged_constants_are_those_of_all_classes() -> None:
    """Of 2 classes with mean 0.2 and std 0.1, and 1 with mean 0.5 and std 0.4."""
    one, two = parts()
    one = replace(one, mean=(0.2,) * 3, std=(0.1,) * 3)
    two = replace(two, mean=(0.5,) * 3, std=(0.4,) * 3)
    merged = CondensedSet.merge([one, two])
    assert merged.mean == pytest.approx((0.3,) * 3)
    second = (2 * (0.1**2 + 0.2**2) + (0.4**2 + 0.5**2)) / 3
    assert merged.std == pytest.approx(((second - 0.3**2) ** 0.5,) * 3)


def test_merged_soft_labels_are_zero_for_the_classes_of_others() -> None:
    one, two = parts()
    one = replace(one, labels=torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.0, 1.0]]))
    with pytest.raises(UserError, match="all classes must have the same number of images"):
        CondensedSet.merge([one, two])
    two = replace(two, images=PIXELS[:2], labels=LABELS[:2])
    merged = CondensedSet.merge([two, one])
    assert merged.labels[:2].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert torch.equal(merged.labels[2:, 1:], one.labels)
    assert not merged.labels[2:, 0].any()


def test_hard_labels_in_any_order_merged_with_soft_ones_keep_their_images() -> None:
    mixed = CondensedSet(PIXELS, torch.tensor([1, 0, 1, 0]), MEAN, STD, ("a", "b"))
    soft = CondensedSet(PIXELS[:2], torch.ones(2, 1), MEAN, STD, ("c",))
    merged = CondensedSet.merge([mixed, soft])
    assert merged.hard_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert torch.equal(merged.images, torch.cat([PIXELS[[1, 3, 0, 2]], PIXELS[:2]]))
    assert merged.labels.argmax(1).equal(merged.hard_labels)
    uneven = replace(mixed, labels=torch.tensor([1, 0, 0, 0]))
    with pytest.raises(UserError, match="the same number of images"):
        CondensedSet.merge([uneven, soft])


def test_bytes_are_pixels_and_larger_numbers_are_refused() -> None:
    eight_bits = (PIXELS * 255).round().to(torch.uint8)
    made = CondensedSet.from_tensors(eight_bits, LABELS)
    assert torch.equal(made.images, eight_bits.float() / 255)
    with pytest.raises(UserError, match="pixels are from 0 to 1, but images have "):
        CondensedSet.from_tensors(PIXELS * 255, LABELS, mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_names": ("b",)}, "common: b"),
        ({"images": torch.zeros(1, 3, 9, 8)}, "images of one shape"),
        ({"distill_lrs": torch.ones(1, 1)}, "learnt learning rates"),
    ],
)
def test_sets_that_do_not_go_together(change: dict[str, Any], message: str) -> None:
    one, two = parts()
    with pytest.raises(UserError, match=message):
        CondensedSet.merge([one, replace(two, **change)])
    with pytest.raises(UserError, match="no set to merge"):
        CondensedSet.merge([])
