"""Avalanche's loggers in a run folder, over both stages of EEIL and over a resume."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from condense import Progress
from tests.continual.test_run import TINY, learn

FILES = ("training_results.csv", "eval_results.csv", "log.txt")
FLAGS = [*TINY, "--memory", "random", "--logger", "csv", "text", "--tensorboard"]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    names = found.Tags()["scalars"]
    return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in names}


def test_steps_grow_over_both_stages_and_a_resumed_run_logs_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, *stopped = runs = [tmp_path / name for name in ("whole", "stopped", "stopped_again")]
    show = Progress.report

    def report(self: Progress, done: int, total: int, **metrics: float) -> None:
        begun = sum(run.exists() for run in runs)
        if done == 7 and begun < len(runs):  # in stage 2 of the last task
            shutil.copytree(runs[begun - 1], runs[begun])  # what a kill -9 would leave
        show(self, done, total, **metrics)

    monkeypatch.setattr(Progress, "report", report)
    learn([*FLAGS, "--out", str(whole)])
    with (whole / "avalanche-seed-0" / FILES[0]).open(newline="") as file:
        rows = [(int(row["training_exp"]), int(row["epoch"])) for row in csv.DictReader(file)]
    # Two epochs, then one of stage 1 and two of stage 2 for each further task.
    assert rows == [(0, 0), (0, 1), *((task, epoch) for task in (1, 2) for epoch in range(3))]
    found = scalars(whole / "tensorboard" / "avalanche-seed-0")
    accuracy = next(name for name in found if name.startswith("Top1_Acc_Epoch/train_phase"))
    for values in found.values():
        steps = [step for step, _ in values]
        assert steps == sorted(steps)
    assert len({step for step, _ in found[accuracy]}) == 8
    assert [step for step, _ in scalars(whole / "tensorboard" / "history")["loss"]] == [
        *range(1, 9)
    ]

    for run in stopped:
        learn(["--resume", str(run), "--quiet"])
        for name in FILES:
            ours, theirs = (each / "avalanche-seed-0" / name for each in (run, whole))
            assert ours.read_bytes() == theirs.read_bytes(), f"{run.name}: {name}"
        assert scalars(run / "tensorboard" / "avalanche-seed-0") == found


def test_without_loggers_there_are_no_such_files(tmp_path: Path) -> None:
    learn([*TINY, "--memory", "random", "--out", str(tmp_path / "run")])
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert not [name for name in names if "avalanche" in name or "tensorboard" in name]
    assert {"report.html", "run.log", "history.png"} <= names
