"""What a set is compared with: real images in its bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from condense import CondensedSet, Evaluation, Network, UserError, condense, evaluate, load
from condense.baselines import Protocol, accuracies, coreset_settings, selected
from condense.runs.checkpointer import Checkpointer

QUICK = Evaluation(num_eval=2, epoch_eval_train=2, network=Network(width=4, depth=1))


def protocol() -> Protocol:
    return Protocol(QUICK, 3, None, lambda name: Checkpointer())


@pytest.mark.parametrize("storage", [{}, {"storage": "pixels", "factor": 2}, {"storage": "dct"}])
def test_random_images_are_those_of_the_method_random(storage) -> None:
    data = load("digits")
    made = condense(data, "dm", preset="smoke", ipc=2, **storage)
    settings = coreset_settings(made, "smoke")
    baseline = condense(data, "random", settings, seed=3)
    assert (baseline.bytes, len(baseline.images)) == (made.bytes, len(made.images))
    found = accuracies(selected(made, data, "both", "smoke"), data, protocol())
    assert set(found) == {"random", "herding"}
    assert found["random"] == evaluate(baseline, data, QUICK, seed=3)


def test_what_is_compared() -> None:
    data = load("digits")
    made = condense(data, "random", preset="smoke", ipc=1)
    assert selected(made, data, "random", "smoke") == {}
    assert set(selected(made, data, "both", "smoke")) == {"herding"}
    assert selected(made, data, "none", "smoke") == {}


def test_a_set_without_recorded_settings_counts_its_bytes() -> None:
    data = load("digits")
    plain = replace(condense(data, "random", preset="smoke", ipc=2), provenance={})
    assert (coreset_settings(plain, "cpu").ipc, coreset_settings(plain, "cpu").storage) == (
        2,
        "float32",
    )
    stored = condense(data, "random", preset="smoke", ipc=3, storage="dct")
    settings = coreset_settings(replace(stored, provenance={}), "cpu")
    assert settings.storage == stored.stored.metadata["storage"]
    assert settings.ipc == 3


def test_a_set_without_recorded_settings_keeps_its_factor() -> None:
    data = load("digits")
    made = condense(data, "random", preset="smoke", ipc=2, storage="pixels", factor=2)
    settings = coreset_settings(replace(made, provenance={}), "cpu")
    assert (settings.ipc, settings.storage, settings.factor) == (2, "pixels", 2)


def test_a_class_with_fewer_images_is_not_compared() -> None:
    data = load("digits")
    made: CondensedSet = condense(data, "dm", preset="smoke", ipc=2)
    few = data.train_subset(data.y_train.argsort(stable=True)[-180:])
    assert selected(made, few, "both", "smoke") == {}


@pytest.mark.parametrize(
    ("storage", "size"), [("pixels", 5), ("pixels", 6), ("ycbcr420", 5), ("dct", 5)]
)
def test_a_class_that_does_not_fill_the_bytes_is_not_compared(storage: str, size: int) -> None:
    """With factor 2 there are 20 or 24 images in the bytes of 5 or 6."""
    digits = load("digits")
    rows = [row[:22] for row in digits.train_indices_by_class()]
    few = digits.train_subset(torch.cat(rows))
    factor = 1 if storage == "dct" else 2
    made = condense(few, "dm", preset="smoke", ipc=size, storage=storage, factor=factor)
    found = selected(made, few, "both", "smoke")
    assert set(found) == ({"random", "herding"} if made.images_per_class <= 22 else set())
    assert (made.images_per_class > 22) == (size == 6)
    for name, settings in found.items():
        assert condense(few, name, settings).bytes == made.bytes


def test_a_class_that_keeps_its_fewer_images_is_compared() -> None:
    digits = load("digits")
    members = digits.train_indices_by_class()
    rows = [row[: 3 if label == 4 else None] for label, row in enumerate(members)]
    few = digits.train_subset(torch.cat(rows))
    made = condense(few, "dm", preset="smoke", ipc=5, short_classes="keep")
    found = selected(made, few, "both", "smoke")
    assert set(found) == {"random", "herding"}
    assert condense(few, "random", found["random"]).hard_labels.bincount().tolist()[3:6] == [
        5,
        3,
        5,
    ]


def test_invalid_settings_are_one_line() -> None:
    made = condense(load("digits"), "random", preset="smoke", ipc=2)
    damaged = made.with_provenance(settings={"ipc": "many"})
    with pytest.raises(
        UserError, match="the provenance of the set: ipc cannot be 'many': use --compare none"
    ):
        coreset_settings(damaged, "smoke")
