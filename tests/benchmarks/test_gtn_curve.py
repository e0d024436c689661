"""Accuracy by the number of generated images: the first steps of a set, the rows, the table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.paper import gtn_curve
from benchmarks.rows import read_rows
from condense import CondensedSet, UserError, evaluate


def test_the_first_steps_have_the_first_images_of_each_class_and_their_learning_rates() -> None:
    values = torch.arange(8.0)  # two classes of four images, in two steps
    condensed = CondensedSet(
        values.view(8, 1, 1, 1).expand(8, 1, 2, 2),
        torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
        mean=(0.5,),
        std=(1.0,),
        class_names=("a", "b"),
        distill_lrs=torch.tensor([[0.1, 0.2]]),
    )
    first = gtn_curve.first_steps(condensed, 1)
    assert first.images[:, 0, 0, 0].tolist() == [0, 1, 4, 5]
    assert first.labels.tolist() == [0, 0, 1, 1]
    assert first.distill_lrs is not None
    assert first.distill_lrs.tolist() == [[pytest.approx(0.1)]]
    assert gtn_curve.first_steps(condensed, 2).images.equal(condensed.images)


def test_a_curve_is_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used: list[CondensedSet] = []

    def tested(condensed, *others, **named):
        used.append(condensed)
        return evaluate(condensed, *others, **named)

    monkeypatch.setattr(gtn_curve, "evaluate", tested)
    flags = ["--dataset", "digits", "--preset", "smoke", "--ipc", "4", "--steps", "2"]
    flags += ["--iterations", "2", "--networks", "2", "--width", "8"]
    flags += ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path)]
    for _ in range(2):
        gtn_curve.run(flags)
    rows = read_rows(tmp_path / gtn_curve.FILE)
    assert [(row["images"], row["steps"], row["images_seen"]) for row in rows] == [
        ("gtn", "1", "20"), ("random", "1", "20"), ("gtn", "2", "40"), ("random", "2", "40"),
    ]  # fmt: skip
    assert all(len(row["accuracies"].split()) == 2 for row in rows)
    generated, real = used[2:]
    assert used[0].images.equal(gtn_curve.first_steps(generated, 1).images)
    assert not generated.images.equal(real.images)
    assert len(real.images.unique() * 16) <= 17  # pixels of digits are 0 … 16
    assert generated.distill_lrs is not None
    assert real.distill_lrs is not None
    assert generated.distill_lrs.equal(real.distill_lrs)
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2].startswith("| 1 | 20 | ")
    assert shown[-1].startswith("| 2 | 40 | ")
    other = gtn_curve.Curve(ipc=8, steps=2)  # other images are measured too
    keys = {tuple(map(str, case.values())) for case in gtn_curve.cases(other)}
    assert keys.isdisjoint((row["command"], row["images"], row["steps"]) for row in rows)


def test_steps_are_a_power_of_two() -> None:
    with pytest.raises(UserError, match="power of two, not 12"):
        gtn_curve.Curve(steps=12)
