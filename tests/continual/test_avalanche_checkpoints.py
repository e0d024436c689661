"""Avalanche's own checkpoints: a strategy with its memory, pickled by dill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dill
import pytest
from avalanche.checkpointing import maybe_load_checkpoint, save_checkpoint

from continual import make_benchmark
from tests.helpers.buffers import BUFFERS
from tests.helpers.tiny_streams import tasks, tiny_eeil


@pytest.mark.parametrize(
    ("kind", "storage"), [("random", "dct"), ("herding", "pixels"), ("condensed", "pixels")]
)
def test_eeil_continues_from_a_checkpoint_of_avalanche(
    kind: str, storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without it dill cannot pickle an optimizer beside some versions of typing_extensions.
    monkeypatch.setitem(dill.settings, "recurse", True)

    def fresh() -> Any:
        return tiny_eeil("class", memory=BUFFERS[kind](20, storage=storage))

    stream = make_benchmark(tasks()[:2], "class").train_stream
    whole, begun = fresh(), fresh()
    whole.train(stream, eval_streams=[])
    begun.train(stream[:1], eval_streams=[])
    save_checkpoint(begun, tmp_path / "strategy.pkl")
    again, done = maybe_load_checkpoint(fresh(), tmp_path / "strategy.pkl")
    again.train(stream[done:], eval_streams=[])
    assert done == 1
    assert again.memory.groups.keys() == whole.memory.groups.keys()
    assert again.memory.samples.images.equal(whole.memory.samples.images)
    ours, theirs = (strategy.model.state_dict() for strategy in (again, whole))
    assert all(ours[name].equal(theirs[name]) for name in {**ours, **theirs})
