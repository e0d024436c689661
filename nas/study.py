"""One Optuna study shared by several workers: no architecture is trained twice or lost.

Each architecture is an enqueued trial that one worker takes. If the worker dies, the trial is set
to FAIL and its architecture is enqueued again. One process at a time enqueues.

Taking a trial and storing its result costs the same for any number of trials: a worker takes
trials from a list that it reads anew at most every `READ_SECONDS`, and otherwise when it is empty.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.trial import FrozenTrial, TrialState

from nas.database import Database
from nas.liveness import HeartbeatLiveness, Liveness, LockLiveness
from nas.objective import TrialResult
from nas.space import Space
from nas.storage import JOURNAL, database_storage, journal_storage
from nas.trials import Trials, attributes_of, counts, index_of, is_own, result_of

ATTEMPTS = 5
"""An architecture on which this many workers have died is not tried again."""
GIVEN_UP = (
    f"killed: {ATTEMPTS} workers died while they trained it, maybe out of memory, or the device "
    "failed"
)
READ_SECONDS = 2.0
"""Trials of other workers are read again after this long."""
MISSES = 4
"""A worker reads the waiting trials again when so many in a row were taken by others."""


class SharedStudy:
    """The trials of some architectures of a space.

    Args:
        space: the architectures.
        wanted: their indices, in training order.
        name: the study name; studies with the same name in one storage are the same study.
        folder: the run folder; contains the study if there is no `url`.
        url: a database URL.
        patience: seconds for which every call is repeated while the database cannot be reached.
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
        patience: float = 0.0,
        since: datetime = datetime.min,
        first_rung: int | None = None,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._trials = Trials(space)
        self._place = {index: place for place, index in enumerate(wanted)}
        self._since = since
        self._storage = (
            database_storage(url, patience) if url else journal_storage(folder / JOURNAL)
        )
        pruner = _pruner(first_rung)
        self._study = self._open(name, pruner)
        self._unfailed = _Unfailed(name, self._storage, pruner=pruner)
        self._id = self._storage.get_study_id_from_name(name)
        self._liveness: Liveness = (
            HeartbeatLiveness(self._storage, self._study)
            if isinstance(self._storage, Database)
            else LockLiveness(self._storage, folder / ".workers")
        )
        self._queue: deque[FrozenTrial] = deque()
        self._results: dict[int, TrialResult] = {}
        self._seen: set[int] = set()
        self._read_at = -READ_SECONDS

    def fill(self) -> bool:
        """Enqueue every architecture that has no trial, or only trials of dead workers.

        Returns:
            Whether any architecture is unfinished, including those of other workers.
        """
        trials = self._read()
        running = [trial for trial in trials if trial.state == TrialState.RUNNING]
        if running:
            self._liveness.fail_abandoned(running)
            trials = self._read()
        if self._missing(trials):
            self._storage.enqueue(
                self._id, lambda known: (self._template(i, n) for i, n in self._missing(known))
            )
            self._read()
        return len(self._results) < len(self._place)

    def ask(self) -> FrozenTrial | None:
        """Take the first waiting trial for this worker; None if there is none."""
        if not self._queue or time.monotonic() - self._read_at > READ_SECONDS:
            self._read()
        while self._queue:
            for _ in range(min(MISSES, len(self._queue))):
                trial = self._queue.popleft()
                if self._liveness.take(trial):
                    return trial
            self._read()
        return None

    def waiting(self) -> int:
        """How many trials were waiting when they were last read."""
        return len(self._queue)

    def index(self, trial: FrozenTrial) -> int:
        """The index of the trial's architecture."""
        return index_of(trial)

    def holding(self, trial: FrozenTrial) -> Any:
        """A context in which the trial counts as alive."""
        return self._liveness.holding(trial)

    def report(self, trial: FrozenTrial, steps: int, accuracy: float) -> bool:
        """Report a point of the training curve. Returns whether to stop the training.

        Also if the trial was already set to FAIL as that of a dead worker: another one trains its
        architecture, and `tell` stores nothing.
        """
        try:
            live = optuna.trial.Trial(self._unfailed, trial._trial_id)
            live.report(accuracy, steps)
            return live.should_prune()
        except UpdateFinishedTrialError:
            return True

    def tell(self, trial: FrozenTrial, result: TrialResult) -> None:
        """Store the result, unless the trial was already set to FAIL as that of a dead worker."""
        attrs = attributes_of(result)
        values = None if result.score is None else [result.score]
        state = TrialState.FAIL if values is None else TrialState.COMPLETE
        if result.pruned:
            # Dashboards expect the last intermediate value as the value of a pruned trial.
            curve = self._storage.get_trial(trial._trial_id).intermediate_values
            state, values = TrialState.PRUNED, [curve[max(curve)]] if curve else None
        with suppress(UpdateFinishedTrialError):
            self._storage.finish(trial._trial_id, state, values, attrs)
            self._seen.add(trial._trial_id)
            self._results[index_of(trial)] = result

    def known(self) -> dict[int, TrialResult]:
        """As `done`, but those of other workers may be missing for `READ_SECONDS`."""
        if time.monotonic() - self._read_at > READ_SECONDS:
            self._read()
        return self._results

    def done(self) -> dict[int, TrialResult]:
        """The results of the finished architectures, by index, in the order they became known."""
        self._read()
        return dict(self._results)

    def close(self) -> None:
        """Release the resources of this worker."""
        self._liveness.close()

    def _open(self, name: str, pruner: BasePruner) -> optuna.Study:
        return optuna.create_study(
            study_name=name,
            direction="maximize",
            load_if_exists=True,
            storage=self._storage,
            pruner=pruner,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )

    def _read(self) -> list[FrozenTrial]:
        """All own trials; notes the results and the waiting trials."""
        known = self._storage.get_all_trials(self._id, deepcopy=False)
        trials = [trial for trial in known if is_own(trial)]
        self._read_at = time.monotonic()
        ended = [t for t in trials if t._trial_id not in self._seen and t.state.is_finished()]
        for trial in sorted(ended, key=lambda t: (t.datetime_complete, t.number)):
            self._seen.add(trial._trial_id)
            if counts(trial) and index_of(trial) in self._place:
                self._results.setdefault(index_of(trial), result_of(trial))
        waiting = {index_of(trial): trial for trial in trials if trial.state == TrialState.WAITING}
        mine = [index for index in waiting if index in self._place and index not in self._results]
        self._queue = deque(waiting[index] for index in sorted(mine, key=self._place.__getitem__))
        return trials

    def _missing(self, known: Iterable[FrozenTrial]) -> list[tuple[int, int]]:
        """The architectures to enqueue, and how many workers have died on each."""
        trials = [trial for trial in known if is_own(trial)]
        abandoned = [trial for trial in trials if not counts(trial)]
        cared_for = {index_of(trial) for trial in trials if counts(trial)}
        died = Counter(
            index_of(trial)
            for trial in abandoned
            if trial.datetime_start is not None and trial.datetime_start >= self._since
        )
        return [(index, died[index]) for index in self._place if index not in cared_for]

    def _template(self, index: int, died: int) -> FrozenTrial:
        return self._trials.waiting(index, GIVEN_UP if died >= ATTEMPTS else None)


class _Unfailed(optuna.Study):
    """The study for the pruner, without failed trials: a retry reports the same points again."""

    def get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """The own trials that have not failed."""
        found = super().get_trials(*args, **kwargs)
        return [trial for trial in found if is_own(trial) and trial.state != TrialState.FAIL]


def _pruner(first_rung: int | None) -> BasePruner:
    if first_rung is None:
        return NopPruner()
    return SuccessiveHalvingPruner(min_resource=first_rung, reduction_factor=2)
