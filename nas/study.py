"""One Optuna study shared by several workers: no architecture is trained twice or lost.

Each architecture is an enqueued trial that one worker takes. If the worker dies, the trial is set
to FAIL and its architecture is enqueued again. If two processes enqueue the same architecture at
the same time, the trial with the lower number counts; the other is set to FAIL when a worker takes
it. So any process may enqueue a missing architecture without coordination.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from nas.liveness import HeartbeatLiveness, Liveness, LockLiveness
from nas.objective import TrialResult
from nas.space import Space
from nas.storage import JOURNAL, database_storage, journal_storage

ATTEMPTS = 5
"""An architecture on which this many workers have died is not tried again."""

_RESULT_FIELDS = ("parameters", "score", "steps", "seconds", "reason")


class SharedStudy:
    """The trials of some architectures of a space.

    Args:
        space: the architectures.
        wanted: their indices, in training order.
        name: the study name; studies with the same name in one storage are the same study.
        folder: the run folder; contains the study if there is no `url`.
        url: a database URL.
        since: when the search was started or last resumed. Workers that died earlier do not count
            for `ATTEMPTS`, so resuming a killed search tries again.
        first_rung: number of steps before the pruner's first decision; None: no pruning.

    Raises:
        UserError: the storage cannot be reached or is damaged.
    """

    def __init__(
        self,
        space: Space,
        wanted: Sequence[int],
        *,
        name: str,
        folder: Path,
        url: str | None = None,
        since: datetime = datetime.min,
        first_rung: int | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._place = {index: place for place, index in enumerate(wanted)}
        self._since = since
        self._storage = database_storage(url) if url else journal_storage(folder / JOURNAL)
        pruner = _pruner(first_rung)
        self._study = self._open(name, pruner)
        self._living = _Living(name, self._storage, pruner=pruner)
        self._id = self._storage.get_study_id_from_name(name)
        self._liveness: Liveness = (
            HeartbeatLiveness(self._storage, self._study)
            if isinstance(self._storage, RDBStorage)
            else LockLiveness(self._storage, folder / ".workers")
        )

    def fill(self) -> bool:
        """Enqueue every architecture that has no trial, or only trials of dead workers.

        Returns:
            Whether any architecture is unfinished, including those of other workers.
        """
        self._liveness.fail_abandoned(self._trials(TrialState.RUNNING))
        with self._liveness.exclusive():
            trials = self._trials()
            cared_for = {_index(trial) for trial in trials if _counts(trial)}
            died = Counter(_index(trial) for trial in trials if self._has_died(trial))
            for index in self._place:
                if index not in cared_for:
                    self._enqueue(index, given_up=died[index] >= ATTEMPTS)
        return len(self.done()) < len(self._place)

    def ask(self) -> FrozenTrial | None:
        """Take the first waiting trial for this worker; None if there is none."""
        with self._liveness.exclusive():
            for trial in self._waiting():
                if self._take(trial):
                    return trial
        return None

    def waiting(self) -> bool:
        """Whether a trial is waiting."""
        return bool(self._waiting())

    def index(self, trial: FrozenTrial) -> int:
        """The index of the trial's architecture."""
        return _index(trial)

    def holding(self, trial: FrozenTrial) -> Any:
        """A context in which the trial counts as alive."""
        return self._liveness.holding(trial)

    def report(self, trial: FrozenTrial, steps: int, accuracy: float) -> bool:
        """Report a point of the training curve. Returns whether to prune the trial."""
        live = optuna.trial.Trial(self._living, trial._trial_id)
        live.report(accuracy, steps)
        return live.should_prune()

    def tell(self, trial: FrozenTrial, result: TrialResult) -> None:
        """Store the result, unless the trial was already set to FAIL as that of a dead worker."""
        with suppress(UpdateFinishedTrialError):
            for key in _RESULT_FIELDS:
                if getattr(result, key) is not None:
                    self._storage.set_trial_user_attr(trial._trial_id, key, getattr(result, key))
            if result.score is not None:
                self._storage.set_trial_state_values(
                    trial._trial_id, TrialState.COMPLETE, [result.score]
                )
            else:
                state = TrialState.PRUNED if result.pruned else TrialState.FAIL
                self._storage.set_trial_state_values(trial._trial_id, state)

    def done(self) -> dict[int, TrialResult]:
        """The results of the finished architectures, by index, the earliest first."""
        finished = [
            trial
            for trial in self._trials()
            if trial.state.is_finished() and _counts(trial) and _index(trial) in self._place
        ]
        results: dict[int, TrialResult] = {}
        for trial in sorted(finished, key=lambda t: (t.datetime_complete, t.number)):
            found = {key: trial.user_attrs.get(key) for key in _RESULT_FIELDS}
            kept = {key: value for key, value in found.items() if value is not None}
            kept.setdefault("parameters", 0)
            pruned = trial.state == TrialState.PRUNED
            results.setdefault(_index(trial), TrialResult(**kept, pruned=pruned))
        return results

    def close(self) -> None:
        """Release the resources of this worker."""
        self._liveness.close()

    def _open(self, name: str, pruner: BasePruner) -> optuna.Study:
        more: dict[str, Any] = {
            "storage": self._storage,
            "pruner": pruner,
            "sampler": optuna.samplers.RandomSampler(seed=0),
        }
        try:
            return optuna.create_study(study_name=name, direction="maximize", **more)
        except DuplicatedStudyError:
            return optuna.load_study(study_name=name, **more)

    def _waiting(self) -> list[FrozenTrial]:
        """The waiting trials in the order of `wanted`, also those that were enqueued again."""
        mine = [t for t in self._trials(TrialState.WAITING) if _index(t) in self._place]
        return sorted(mine, key=lambda trial: (self._place[_index(trial)], trial.number))

    def _has_died(self, trial: FrozenTrial) -> bool:
        abandoned = not _counts(trial) and "passed_over" not in trial.user_attrs
        started = trial.datetime_start
        return abandoned and started is not None and started >= self._since

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._id, deepcopy=False, states=states or None)

    def _enqueue(self, index: int, given_up: bool) -> None:
        names = self._space.factors
        distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(tuple(dict.fromkeys(column)))
            for name, column in names.items()
        }
        about: dict[str, Any] = {"index": index, "architecture": self._space.names[index]}
        if given_up:
            about["reason"] = (
                f"killed: {ATTEMPTS} workers died while they trained it, maybe out of memory"
            )
        trial = optuna.trial.create_trial(
            state=TrialState.FAIL if given_up else TrialState.WAITING,
            params={name: column[index] for name, column in names.items()},
            distributions=distributions,
            user_attrs=about,
        )
        self._study.add_trial(trial)

    def _take(self, trial: FrozenTrial) -> bool:
        try:
            self._liveness.sign(trial)
            if not self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                return False
        except UpdateFinishedTrialError:
            return False
        if any(
            _index(other) == _index(trial) and other.number < trial.number and _counts(other)
            for other in self._trials()
        ):
            self._storage.set_trial_user_attr(trial._trial_id, "passed_over", True)
            self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            return False
        return True


class _Living(optuna.Study):
    """The study for the pruner, without failed trials: a retry reports the same points again."""

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """The trials that have not failed."""
        found = super().get_trials(*args, **kwargs)
        return [trial for trial in found if trial.state != TrialState.FAIL]


def _pruner(first_rung: int | None) -> BasePruner:
    if first_rung is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)


def _index(trial: FrozenTrial) -> int:
    return int(trial.user_attrs["index"])


def _counts(trial: FrozenTrial) -> bool:
    """Whether the trial counts for its architecture: not if it failed without a reason."""
    return trial.state != TrialState.FAIL or "reason" in trial.user_attrs
