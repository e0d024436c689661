"""Checkpoints of something else: whoever goes on from one says so in a line, and never starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.kernel import KernelInducingPoints
from condense.config.methods import DistributionMatching, Forgetting, GradientMatching
from condense.config.network import Network
from condense.config.unrolled import DatasetDistillation, GenerativeTeaching, LabelDistillation
from condense.errors import UserError
from condense.evaluation import evaluate
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from tests.helpers.images import blobs
from tests.helpers.methods import Kept, KilledError

NETWORK = Network(width=4, depth=1)
SMALL = {"ipc": 2, "network": NETWORK, "batch_real": 8}
SETTINGS: dict[str, Any] = {
    "dsa": GradientMatching(iterations=3, outer_loop=1, **SMALL),
    "dm": DistributionMatching(iterations=3, **SMALL),
    "kip": KernelInducingPoints(iterations=3, learn_labels=True, **SMALL),
    "dd": DatasetDistillation(iterations=3, distill_epochs=1, networks=1, **SMALL),
    "gtn": GenerativeTeaching(iterations=3, generator_width=2, **SMALL),
    "ld": LabelDistillation(iterations=3, batch_size=4, **SMALL),
    "forgetting": Forgetting(epochs=3, ipc=2, network=NETWORK),
}


def computation(name: str) -> Callable[[Checkpointer], object]:
    data = blobs()
    if name != "evaluation":
        return lambda checkpointer: condense(data, name, SETTINGS[name], checkpointer=checkpointer)
    settings = Evaluation(num_eval=3, epoch_eval_train=2, batch_size=8, network=NETWORK)
    images = data.normalise(data.x_train[:6])
    condensed = CondensedSet.from_normalised(images, data.y_train[:6], data)
    return lambda checkpointer: evaluate(condensed, data, settings, checkpointer=checkpointer)


def mutations(sound: Checkpoint) -> Iterator[tuple[str, Checkpoint]]:
    for key, value in sound.state.items():
        others = {other: kept for other, kept in sound.state.items() if other != key}
        yield f"no {key}", replace(sound, state=others)
        yield f"{key} renamed", replace(sound, state={**others, f"{key}s": value})
        for wrong in (None, "x", [], {}, -1, 10**12, 10**400, 0.5, float("nan"), [None], ["1"]):
            if wrong != value and not (wrong == [] and isinstance(value, list)):
                yield f"{key} is {str(wrong)[:9]}", replace(sound, state={**others, key: wrong})
    for key, tensor in sound.tensors.items():
        others = {other: kept for other, kept in sound.tensors.items() if other != key}
        yield f"no {key}", replace(sound, tensors=others)
        for wrong in (tensor[None], tensor.to(torch.float16), torch.zeros(3, 0), torch.tensor(1)):
            if (wrong.shape, wrong.dtype) != (tensor.shape, tensor.dtype):
                yield f"{key} is {wrong.dtype}", replace(sound, tensors={**others, key: wrong})


def reached(compute: Callable[[Checkpointer], object]) -> Checkpoint:
    checkpointer = Kept(2)
    with pytest.raises(KilledError):
        compute(checkpointer)
    assert checkpointer.kept is not None
    return checkpointer.kept


@pytest.mark.parametrize("name", [*SETTINGS, "evaluation"])
def test_a_checkpoint_of_something_else_is_one_line(name: str, monkeypatch) -> None:
    monkeypatch.setattr("condense.evaluation.max_networks", lambda *arguments: 1)
    compute = computation(name)
    sound = replace(reached(compute), path=Path("RUN/checkpoint.safetensors"))
    found = list(mutations(sound))
    assert len(found) > 10
    for what, wrong in found:
        checkpointer = Kept()
        checkpointer.kept = wrong
        with pytest.raises(UserError) as caught:
            compute(checkpointer)
        message = str(caught.value)
        assert message.startswith("RUN/checkpoint.safetensors belongs to another computation"), what
        assert "delete it to start again" in message
        assert "\n" not in message
        assert len(message) <= 500
        assert checkpointer.saved == 0, what


@pytest.mark.parametrize("name", list(SETTINGS))
def test_a_checkpoint_of_other_settings_is_one_line(name: str) -> None:
    sound = reached(computation(name))
    settings = replace(SETTINGS[name], ipc=3, network=Network(width=8, depth=1))
    checkpointer = Kept()
    checkpointer.kept = sound
    with pytest.raises(UserError, match="belongs to another computation"):
        condense(blobs(), name, settings, checkpointer=checkpointer)


def test_what_reads_a_state_by_hand() -> None:
    kept = Checkpoint({"a": torch.ones(2)}, {"n": 3, "values": [0.5, 1]})
    assert kept.count("n", 3) == 3
    assert kept.value("values", list[float]) == [0.5, 1.0]
    assert torch.equal(kept.tensor("a", torch.zeros(2)), torch.ones(2))
    for wrong in (
        lambda: kept.count("n", 2),
        lambda: kept.count("m", 2),
        lambda: kept.value("n", str),
        lambda: kept.value("values", list[int]),
        lambda: kept.tensor("a", torch.zeros(3)),
        lambda: kept.tensor("b", torch.zeros(2)),
    ):
        with pytest.raises(UserError, match=r"^the checkpoint belongs to another computation"):
            wrong()
