from __future__ import annotations

from optuna.trial import TrialState

from condense import Network
from nas import Space, TrialResult
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


def test_one_that_is_given_up_counts() -> None:
    trial = Trials(Space([Network()])).waiting(0, given_up="killed: twice")
    assert trial.state == TrialState.FAIL
    assert counts(trial)
    assert result_of(trial) == TrialResult(0, reason="killed: twice")


def test_a_result_is_stored_in_attributes() -> None:
    pruned = TrialResult(parameters=7, steps=4, seconds=0.5, pruned=True)
    assert attributes_of(pruned) == {"parameters": 7, "steps": 4, "seconds": 0.5}
    assert attributes_of(TrialResult(1, 0.5))["score"] == 0.5
