from __future__ import annotations

from dataclasses import make_dataclass
from math import inf
from pathlib import Path

import pytest
from optuna.trial import TrialState

from condense import Network
from nas import SharedStudy, Space, TrialResult
from nas.trials import MOST_CATEGORIES, Trials, attributes_of, counts, index_of, result_of


def test_a_factor_with_few_levels_is_stored_by_name() -> None:
    space = Space(
        [Network(depth=depth, norm=norm) for depth in (1, 2) for norm in ("none", "batch")]
    )
    trial = Trials(space).waiting(1)
    assert trial.params == {"depth": 1, "norm": "batch"}
    assert trial.state == TrialState.WAITING
    assert index_of(trial) == 1


def test_a_factor_with_many_levels_is_stored_by_number() -> None:
    """Optuna writes all categories into every trial: 242 MB for 4000 names."""
    count = MOST_CATEGORIES + 1
    trials = Trials(Space([f"network {number}" for number in range(count)], build=print))
    for index in (0, 7, count - 1):
        trial = trials.waiting(index)
        assert trial.params == {"architecture": index}
        assert trial.user_attrs == {"index": index, "architecture": f"network {index}"}
    assert len(repr(trial.distributions)) < 100


@pytest.mark.parametrize(
    ("levels", "stored"),
    [
        ([2 * number for number in range(100)], 14),
        ([number / 8 for number in range(100)], 0.875),
        ([0.5, *range(1, 100)], 7),
        ([10**30 + number for number in range(100)], 7),  # more than a database can hold
        ([*map(float, range(99)), inf], 7),  # no range has this as its end
    ],
)
def test_numbers_with_many_levels_are_stored_as_they_are(
    levels: list[float], stored: float, tmp_path: Path
) -> None:
    """Optuna's plots and dashboard show them: a width of 14 was there as 7."""
    factor = make_dataclass("factor", ["width"], frozen=True)
    space = Space([factor(level) for level in levels], build=print)
    for url in (None, f"sqlite:///{tmp_path}/study.db"):
        study = SharedStudy(space, [7], name="numbers", folder=tmp_path, url=url)
        study.fill()
        trial = study.ask()
        assert trial is not None
        assert trial.params == {"width": stored}
        study.close()


def test_one_that_is_given_up_counts() -> None:
    trial = Trials(Space([Network()])).waiting(0, given_up="killed: twice")
    assert trial.state == TrialState.FAIL
    assert counts(trial)
    assert result_of(trial) == TrialResult(0, reason="killed: twice")


def test_a_result_is_stored_in_attributes() -> None:
    pruned = TrialResult(parameters=7, steps=4, seconds=0.5, pruned=True)
    assert attributes_of(pruned) == {"parameters": 7, "steps": 4, "seconds": 0.5}
    assert attributes_of(TrialResult(1, 0.5))["score"] == 0.5
