"""What the tests of several methods share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.data.loading import load
from condense.evaluation import evaluate
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer

QUICK = Evaluation(
    num_eval=2, epoch_eval_train=60, batch_size=10, lr=0.05, network=Network(width=8, depth=2)
)
"""How sets are tested on 8×8 images; well chosen for random ones too."""


class KilledError(Exception):
    pass


class Kept(Checkpointer):
    """Keeps the last checkpoint in memory, and stops the computation at a step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.kept: Checkpoint | None = None
        self.saved = 0

    def restore(self) -> Checkpoint | None:
        return self.kept

    def save(self, checkpoint: Checkpoint) -> None:
        self.kept = checkpoint.snapshot(0.0)
        self.saved += 1
        if self.saved == self.stop_at:
            raise KilledError


def assert_resumes(data: ImageData, method: str, settings: Any, stop_at: int) -> None:
    """A run stopped at the checkpoint `stop_at` and gone on with ends as one that is left alone."""
    checkpointer = Kept(stop_at)
    with pytest.raises(KilledError):
        condense(data, method, settings, checkpointer=checkpointer)
    resumed = condense(data, method, settings, checkpointer=checkpointer)
    whole = condense(data, method, settings)
    assert same_sets(resumed, whole)
    assert resumed.provenance == whole.provenance
    assert checkpointer.saved > stop_at


def score(method: str, settings: Any, test: Evaluation = QUICK, seeds: int = 2) -> float:
    """The mean accuracy on `digits` of networks trained on sets of so many seeds."""
    data = load("digits")
    made = [condense(data, method, settings, seed=seed) for seed in range(seeds)]
    return sum(evaluate(small, data, test).mean for small in made) / len(made)


def same_sets(a: CondensedSet, b: CondensedSet) -> bool:
    if a.distill_lrs is None or b.distill_lrs is None:
        same_lrs = a.distill_lrs is b.distill_lrs
    else:
        same_lrs = torch.equal(a.distill_lrs, b.distill_lrs)
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and same_lrs
