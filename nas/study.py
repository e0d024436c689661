"""One Optuna study that several workers share: nothing is trained twice, and nothing is lost.

Each architecture is a trial that is enqueued explicitly and claimed by one worker. A trial whose
worker dies is failed and its architecture enqueued again. Where two processes enqueue one
architecture at the same time, the lower number counts; the other is passed over when it is
claimed. So whoever finds something missing may add it without asking anybody.
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

from nas.leases import HeartbeatLeases, Leases, LockLeases
from nas.space import Space
from nas.storage import JOURNAL, database_storage, journal_storage
from nas.training import Outcome

ATTEMPTS = 5
"""Workers that may die on one architecture before it is given up."""

_OUTCOME = ("parameters", "score", "updates", "seconds", "reason")


class SharedStudy:
    """The trials of some architectures of a space.

    Args:
        space: the architectures.
        wanted: their indices, in the order in which they are to be trained.
        name: of the study; those with one name in one storage are one study.
        folder: of the run; takes the study where there is no `url`.
        url: of a database.
        since: when the search was begun, or last gone on with. Who goes on with one that was
            killed has it try again, so what died before does not count.
        first_rung: updates after which the pruner first looks, where it does.

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
        self._leases: Leases = (
            HeartbeatLeases(self._storage, self._study)
            if isinstance(self._storage, RDBStorage)
            else LockLeases(self._storage, folder / ".workers")
        )

    def fill(self) -> bool:
        """Enqueue again what dead workers left, and whatever else is missing.

        Returns:
            Whether anything is still to be done, be it by others.
        """
        self._leases.fail_abandoned(self._trials(TrialState.RUNNING))
        with self._leases.claiming():
            trials = self._trials()
            cared_for = {_index(trial) for trial in trials if _counts(trial)}
            died = Counter(_index(trial) for trial in trials if self._has_died(trial))
            for index in self._place:
                if index not in cared_for:
                    self._enqueue(index, given_up=died[index] >= ATTEMPTS)
        return len(self.done()) < len(self._place)

    def claim(self) -> FrozenTrial | None:
        """The first trial that waits, now this worker's and nobody else's; None where none does."""
        with self._leases.claiming():
            for trial in self._waiting():
                if self._take(trial):
                    return trial
        return None

    def waiting(self) -> bool:
        """Whether there is something to claim."""
        return bool(self._waiting())

    def index(self, trial: FrozenTrial) -> int:
        """Which architecture it is."""
        return _index(trial)

    def holding(self, trial: FrozenTrial) -> Any:
        """A context in which the trial is known to be worked on."""
        return self._leases.holding(trial)

    def follow(self, trial: FrozenTrial, updates: int, accuracy: float) -> bool:
        """Add a point to the training curve; whether the pruner would stop here."""
        live = optuna.trial.Trial(self._living, trial._trial_id)
        live.report(accuracy, updates)
        return live.should_prune()

    def finish(self, trial: FrozenTrial, outcome: Outcome) -> None:
        """Keep what came of it, unless somebody had thought this worker dead."""
        with suppress(UpdateFinishedTrialError):
            for key in _OUTCOME:
                if getattr(outcome, key) is not None:
                    self._storage.set_trial_user_attr(trial._trial_id, key, getattr(outcome, key))
            if outcome.score is not None:
                self._storage.set_trial_state_values(
                    trial._trial_id, TrialState.COMPLETE, [outcome.score]
                )
            else:
                state = TrialState.PRUNED if outcome.pruned else TrialState.FAIL
                self._storage.set_trial_state_values(trial._trial_id, state)

    def done(self) -> dict[int, Outcome]:
        """What came of the architectures that are done with, by index, the earliest first."""
        finished = [
            trial
            for trial in self._trials()
            if trial.state.is_finished() and _counts(trial) and _index(trial) in self._place
        ]
        outcomes: dict[int, Outcome] = {}
        for trial in sorted(finished, key=lambda t: (t.datetime_complete, t.number)):
            found = {key: trial.user_attrs.get(key) for key in _OUTCOME}
            kept = {key: value for key, value in found.items() if value is not None}
            kept.setdefault("parameters", 0)
            pruned = trial.state == TrialState.PRUNED
            outcomes.setdefault(_index(trial), Outcome(**kept, pruned=pruned))
        return outcomes

    def close(self) -> None:
        """This worker works no more."""
        self._leases.close()

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
        """In the order wanted, whatever was enqueued again in between."""
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
            about["reason"] = f"killed: {ATTEMPTS} workers died on it, maybe for want of memory"
        trial = optuna.trial.create_trial(
            state=TrialState.FAIL if given_up else TrialState.WAITING,
            params={name: column[index] for name, column in names.items()},
            distributions=distributions,
            user_attrs=about,
        )
        self._study.add_trial(trial)

    def _take(self, trial: FrozenTrial) -> bool:
        try:
            self._leases.sign(trial)
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
    """The study as the pruner sees it: what a dead worker has reported is reported once more."""

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """Those that have not failed."""
        found = super().get_trials(*args, **kwargs)
        return [trial for trial in found if trial.state != TrialState.FAIL]


def _pruner(first_rung: int | None) -> BasePruner:
    if first_rung is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)


def _index(trial: FrozenTrial) -> int:
    return int(trial.user_attrs["index"])


def _counts(trial: FrozenTrial) -> bool:
    """Whether it stands for its architecture: not where it only failed."""
    return trial.state != TrialState.FAIL or "reason" in trial.user_attrs
