"""An architecture as an Optuna trial, and back: its parameters, attributes and result."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from nas.objective import TrialResult
from nas.space import Space
from nas.summary import MOST

MOST_CATEGORIES = 64
"""A parameter with more levels has no categories, which Optuna stores with every trial: it is a
number in a range, of a text the number of its level."""

_RESULT_FIELDS = ("parameters", "score", "steps", "seconds", "reason")


class Trials:
    """The trials of the architectures of a space."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def waiting(self, index: int, given_up: str | None = None) -> FrozenTrial:
        """A trial that waits for a worker; with the reason, one that is given up."""
        about: dict[str, Any] = {"index": index, "architecture": self._space.names[index]}
        if given_up:
            about["reason"] = given_up
        return optuna.trial.create_trial(
            state=TrialState.FAIL if given_up else TrialState.WAITING,
            params={name: column[index] for name, (_, column) in self._factors.items()},
            distributions={name: kind for name, (kind, _) in self._factors.items()},
            user_attrs=about,
        )

    @cached_property
    def _factors(self) -> dict[str, tuple[BaseDistribution, tuple[Any, ...]]]:
        """For each factor its distribution, and its value by index."""
        return {name: _parameter(column) for name, column in self._space.factors.items()}


def _parameter(column: tuple[Any, ...]) -> tuple[BaseDistribution, tuple[Any, ...]]:
    levels = dict.fromkeys(column)
    if len(levels) <= MOST_CATEGORIES:
        return CategoricalDistribution(tuple(levels)), column
    if all(isinstance(level, int) and abs(level) <= MOST for level in levels):
        return IntDistribution(min(levels), max(levels)), column
    if all(isinstance(level, int | float) and abs(level) <= MOST for level in levels):
        return FloatDistribution(min(levels), max(levels)), column
    number = {level: number for number, level in enumerate(levels)}
    return IntDistribution(0, len(levels) - 1), tuple(number[level] for level in column)


def is_own(trial: FrozenTrial) -> bool:
    """Whether a search added the trial, and not another program that uses the study."""
    return type(trial.user_attrs.get("index")) is int


def index_of(trial: FrozenTrial) -> int:
    """The index of the architecture of an own trial."""
    return int(trial.user_attrs["index"])


def counts(trial: FrozenTrial) -> bool:
    """Whether the trial counts for its architecture: not if it failed without a reason."""
    return trial.state != TrialState.FAIL or "reason" in trial.user_attrs


def attributes_of(result: TrialResult) -> dict[str, Any]:
    """The attributes in which a trial stores its result."""
    found = {name: getattr(result, name) for name in _RESULT_FIELDS}
    return {name: value for name, value in found.items() if value is not None}


def result_of(trial: FrozenTrial) -> TrialResult:
    """The result of a finished trial."""
    found = {name: trial.user_attrs[name] for name in _RESULT_FIELDS if name in trial.user_attrs}
    return TrialResult(**{"parameters": 0, **found}, pruned=trial.state == TrialState.PRUNED)
