from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from condense.api import condense
from condense.augment.params import augment_batch, default_strategy
from condense.condensed_set import CondensedSet
from condense.config.network import Network
from condense.data.loading import load
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.methods.teacher import teacher_for, teacher_logits, train_teacher
from condense.models.build import build
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.images import blobs
from tests.helpers.methods import QUICK, same_sets

TEACHER = Network(width=4), 5
SOFT = {"storage": "float32", "labels": "soft", "network": Network(width=4), "teacher_steps": 5}


def test_labels_are_the_probabilities_of_the_teacher() -> None:
    """Averaged over an image and its mirror image, divided by the temperature."""
    data = blobs(shape=(3, 8, 8))
    small = condense(data, "random", ipc=2, **SOFT)
    teacher = train_teacher(data, *TEACHER, 0, Checkpointer())
    images = small.normalised()
    with torch.no_grad():
        logits = (teacher(images) + teacher(images.flip(3))) / 2
    assert small.labels.dtype == torch.uint8
    assert small.labels.amax(1).tolist() == [255] * 6
    torch.testing.assert_close(small.targets, (logits / 2).softmax(1), atol=3e-3, rtol=0)
    assert small.hard_labels.tolist() == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("hflip", [True, False])
def test_a_teacher_is_trained_as_its_settings_say(hflip: bool) -> None:
    """With augmentation, momentum and weight decay, along half a cosine."""
    data = replace(blobs(), hflip=hflip)
    draws = generator(3, "teacher")
    network = build(TEACHER[0], data.shape, data.classes, draws)
    sgd = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 5)
    rows = []
    for _ in range(5):
        rows = rows or list(torch.randperm(60, generator=draws).split(128))
        chosen, *rows = rows
        images = data.normalise(data.x_train[chosen])
        images = augment_batch(images, default_strategy(hflip), draws)
        sgd.zero_grad()
        F.cross_entropy(network(images), data.y_train[chosen]).backward()
        sgd.step()
        scheduler.step()
    found = train_teacher(data, *TEACHER, 3, Checkpointer())
    assert not found.training
    torch.testing.assert_close(found.state_dict(), network.state_dict(), atol=1e-5, rtol=1e-4)


def test_digits_are_seen_once() -> None:
    data = load("digits")
    teacher = train_teacher(data, *TEACHER, 0, Checkpointer())
    images = data.normalise(data.x_train[:20])
    with torch.no_grad():
        torch.testing.assert_close(teacher_logits(teacher, images, data), teacher(images))


def test_a_set_is_the_same_after_its_file(tmp_path: Path) -> None:
    data = blobs(shape=(3, 8, 8))
    changes = {**SOFT, "storage": "pixels"}
    small = condense(data, "random", ipc=2, **changes)
    small.save(tmp_path / "set.safetensors")
    again = CondensedSet.load(tmp_path / "set.safetensors")
    assert same_sets(again, small)
    assert evaluate(again, data, QUICK) == evaluate(small, data, QUICK)


def test_a_teacher_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cache, trained = blobs(), Cache(tmp_path), []

    def train(*arguments: object) -> object:
        trained.append(1)
        return train_teacher(*arguments)

    monkeypatch.setattr("condense.methods.teacher.train_teacher", train)
    for seed in (0, 0, 1):
        teacher_for(data, *TEACHER, seed, cache, Checkpointer())
    assert len(trained) == 2
    plain = train_teacher(data, *TEACHER, 0, Checkpointer()).state_dict()
    for name, tensor in teacher_for(data, *TEACHER, 0, cache, Checkpointer()).state_dict().items():
        assert torch.equal(tensor, plain[name])
    assert cache.hits == 0  # hits are those of sets
    for other, changed in (((TEACHER[0], 6), data), (TEACHER, blobs(seed=1))):
        teacher_for(changed, *other, 0, cache, Checkpointer())
    assert len(trained) == 4


def test_a_damaged_teacher_is_trained_again(tmp_path: Path) -> None:
    data, cache = blobs(), Cache(tmp_path)
    teacher_for(data, *TEACHER, 0, cache, Checkpointer())
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(b"nothing")
    teacher_for(data, *TEACHER, 0, cache, Checkpointer())
    assert path.stat().st_size > 100


def test_a_trained_teacher_knows_the_classes() -> None:
    data = load("digits")
    network = Network(width=16, depth=2)
    soft = condense(data, "random", ipc=10, labels="soft", network=network, teacher_steps=300)
    assert (soft.labels.argmax(1) == soft.hard_labels).float().mean() > 0.9
    assert (soft.targets.amax(1) < 0.999).float().mean() > 0.2


def test_a_teacher_that_diverges_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "condense.methods.teacher.teacher_logits", lambda *_: torch.full((6, 3), torch.nan)
    )
    with pytest.raises(UserError, match="the teacher diverged"):
        condense(blobs(shape=(3, 8, 8)), "random", ipc=2, **SOFT)
    with pytest.raises(UserError, match=r"temperature must be at least 0\.01"):
        condense(blobs(), "random", temperature=0.0)
