from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from condense import seeds
from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.methods.registry import METHODS, Method
from condense.runs.cache import Cache
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from tests.helpers.images import blobs


@pytest.mark.parametrize("method", METHODS)
def test_no_method_uses_the_global_random_state(method: str, data: ImageData) -> None:
    before = torch.get_rng_state()
    condense(data, method, preset="smoke", ipc=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("method", "changes"),
    [*((method, {}) for method in METHODS), ("random", {"labels": "soft", "teacher_steps": 2}),
     ("dd", {"init_weights": "fixed"})],
)  # fmt: skip
def test_every_random_stream_is_of_the_seed(
    method: str, changes: dict[str, Any], data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else sets of several seeds would have something in common."""
    derive, used = seeds.derive, set()

    def noted(seed: int, *names: str | int) -> int:
        if names:  # without names: weights that are overwritten
            used.add(seed)
        return derive(seed, *names)

    monkeypatch.setattr(seeds, "derive", noted)
    condense(data, method, preset="smoke", ipc=2, seed=5, **changes)
    assert used == (set() if method == "whole" else {5})


class Kept(Checkpointer):
    """The last checkpoint, in memory."""

    def __init__(self) -> None:
        self.last: Checkpoint | None = None

    def restore(self) -> Checkpoint | None:
        return self.last

    def save(self, checkpoint: Checkpoint) -> None:
        self.last = checkpoint.snapshot(0.0)


OTHERS: list[tuple[dict[str, Any], ImageData]] = [
    ({"seed": 1}, blobs()),
    ({"ipc": 2}, blobs()),
    ({"network": Network(width=4)}, blobs()),
    ({}, blobs(seed=1)),
]


@pytest.mark.parametrize("method", ["dm", "idm", "dd", "gtn", "ld", "forgetting"])
def test_the_checkpoint_of_another_computation_is_not_resumed(method: str) -> None:
    data, kept = blobs(), Kept()
    made = condense(data, method, preset="smoke", ipc=1, checkpointer=kept)
    again = condense(data, method, preset="smoke", ipc=1, checkpointer=kept)
    assert again.fingerprint() == made.fingerprint()
    for changes, images in OTHERS:
        with pytest.raises(UserError, match="belongs to another computation"):
            condense(images, method, preset="smoke", checkpointer=kept, **{"ipc": 1, **changes})


def test_the_checkpoint_of_another_evaluation_is_not_resumed(data: ImageData) -> None:
    small, kept = condense(data, "random", preset="smoke", ipc=1), Kept()
    settings = Evaluation(num_eval=2, steps=3, network=Network("mlp"))
    accuracy = evaluate(small, data, settings, checkpointer=kept)
    assert evaluate(small, data, settings, checkpointer=kept) == accuracy
    more = evaluate(small, data, replace(settings, num_eval=3), checkpointer=kept)
    assert more.values[:2] == accuracy.values

    def refused(condensed: CondensedSet, images: ImageData, **changes: Any) -> None:
        seed = changes.pop("seed", 0)
        with pytest.raises(UserError, match="belongs to another computation"):
            evaluate(condensed, images, replace(settings, **changes), seed=seed, checkpointer=kept)

    refused(small, data, seed=1)
    refused(small, data, lr=0.5)
    refused(replace(small, images=small.images / 2), data)
    refused(small, replace(data, x_test=data.x_test.flip(0)))


@pytest.mark.parametrize("seed", [1.5, None, "a"])
def test_a_seed_is_a_whole_number(seed: Any, data: ImageData, tmp_path: Any) -> None:
    small = condense(data, "random", preset="smoke", ipc=1)
    for compute in (
        lambda: condense(data, "random", preset="smoke", ipc=1, seed=seed),
        lambda: condense(data, "dm", preset="smoke", seed=seed, cache=Cache(tmp_path)),
        lambda: evaluate(small, data, seed=seed),
        lambda: small.loader(seed=seed),
    ):
        with pytest.raises(UserError, match="seed must be a whole number, not"):
            compute()


@pytest.mark.parametrize("method", [None, 3, ["dm"]])
def test_a_method_is_a_name(method: Any, data: ImageData) -> None:
    with pytest.raises(UserError, match="method must be a str, not"):
        condense(data, method)


def test_a_strategy_without_augmentation_is_noted(
    data: ImageData, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "note: dsa-strategy crop has no effect: these images are not augmented so\n"
    settings = Evaluation(num_eval=1, steps=1, network=Network("mlp"), dsa_strategy=("crop",))
    small = condense(data, "dsa", preset="smoke", ipc=1, dsa_strategy=("crop",))
    evaluate(small, data, settings)
    condense(data, "dc", preset="smoke", ipc=1)
    assert capsys.readouterr().err == ""
    condense(data, "dc", preset="smoke", ipc=1, dsa_strategy=("crop",))
    assert capsys.readouterr().err == told
    condense(data, "dm", preset="smoke", ipc=1, augment="none", dsa_strategy=("crop",))
    assert capsys.readouterr().err == told
    for augment in ("none", "dc"):
        evaluate(small, data, replace(settings, augment=augment))
        assert capsys.readouterr().err == told
        unknown: Any = {"augment": augment, "dsa_strategy": ("zoom",)}
        with pytest.raises(UserError, match="unknown augmentation 'zoom'"):
            evaluate(small, data, replace(settings, **unknown))


def test_a_class_without_images_is_said_with_a_cache_too(data, tmp_path):
    cache = Cache(tmp_path)
    condense(data, "random", ipc=1, cache=cache)
    more = replace(data, class_names=(*data.class_names, "empty"))
    with pytest.raises(UserError, match="fewer than 1 training images of empty"):
        condense(more, "random", ipc=1, cache=cache)


@pytest.mark.parametrize("method", ["forgetting", "ld", "dm"])
def test_a_batch_norm_without_statistics_is_one_line(method: str) -> None:
    """Of one image, in a feature map of one pixel."""
    data = blobs(classes=1 if method == "dm" else 3)
    size = {"dm": {}, "ld": {"batch_size": 1}, "forgetting": {"batch_size": 59}}[method]
    network = Network("resnet18", norm="batch")
    with pytest.raises(UserError, match="a batch has one image, of which a batch norm has no"):
        condense(data, method, preset="smoke", ipc=1, network=network, storage="float32", **size)


def brightest(data, settings, seed, checkpointer):
    """A method of a program: images with the largest sums."""
    rows = [
        own[data.x_train[own].flatten(1).sum(1).argsort(descending=True)[: settings.ipc]]
        for own in data.train_indices_by_class()
    ]
    images = data.normalise(data.x_train[torch.cat(rows)])
    return CondensedSet.from_normalised(images, data.y_train[torch.cat(rows)], data)


def test_a_program_adds_a_method(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from continual import CondensedBuffer, make_benchmark

    own = Method("the brightest images", "this test", Coreset, f"{__name__}:brightest")
    monkeypatch.setitem(METHODS, "brightest", own)
    made = condense(data, "brightest", preset="smoke", ipc=2, storage="float32")
    assert made.provenance["method"] == "brightest"
    assert made.images_per_class == 2
    buffer = CondensedBuffer(images_per_class=1, method="brightest", preset="smoke")
    experience = make_benchmark([data]).train_stream[0]
    buffer.post_adapt(SimpleNamespace(device="cpu"), experience)
    assert len(buffer.buffer) == data.classes
