"""An Optuna database for thousands of trials, whose server may be restarted at any moment.

Optuna writes a trial in a dozen transactions and reads all trials for every question. This class
adds trials, takes one and writes its attributes in one transaction each, and reads a trial again
only when its state has changed. It uses Optuna's own tables: Optuna and its dashboard read and
write the same studies.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from itertools import islice
from typing import Any

import optuna
from filelock import FileLock
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, selectinload

from nas.retrying import Retrying

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 60
"""A worker without a heartbeat for this long is dead."""
Missing = Callable[[Sequence[FrozenTrial]], Iterable[FrozenTrial]]
"""From all trials of a study, those to add."""
READ_AT_ONCE = 500
"""Trials per query; databases limit the number of values in a query."""


class Database(RDBStorage):
    """The studies in a database.

    Args:
        url: of the database.
        patience: seconds for which every call is repeated while the database cannot be reached.

    Raises:
        StorageFailedError: from every method, if the database is away for longer, or refuses.
    """

    def __init__(self, url: str, patience: float = 0.0) -> None:
        self.retrying = Retrying(url, patience)
        self._settled: dict[int, FrozenTrial] = {}
        sqlite = url.startswith("sqlite")
        # A pooled connection is tested before use: a restarted server has closed it.
        options = {"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(
                url,
                engine_kwargs=options,
                heartbeat_interval=HEARTBEAT_SECONDS,
                grace_period=GRACE_SECONDS,
            )
        file = self.engine.url.database
        # SQLite does not lock the rows that it reads, so two workers could take the same trial.
        self._lock = FileLock(f"{file}.lock", poll_interval=0.01) if sqlite else None

    def exclusive(self) -> AbstractContextManager[object]:
        """A file lock for an SQLite file; database servers lock the rows themselves."""
        return self._lock or nullcontext()

    def enqueue(self, study_id: int, missing: Missing) -> None:
        """Add trials, in one transaction and one process at a time.

        Args:
            study_id: the study.
            missing: from all its trials, those to add.
        """
        self.retrying(self._enqueue, study_id, missing)

    def _enqueue(self, study_id: int, missing: Missing) -> None:
        with self.exclusive(), Session(self.engine) as session, session.begin():
            # Optuna locks this row too, for every trial that it adds.
            models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
            known = self.get_all_trials(study_id, deepcopy=False)
            rows = (
                _row(study_id, number, trial)
                for number, trial in enumerate(missing(known), len(known))
            )
            session.add_all(rows)

    def take(self, trial_id: int) -> bool:
        """Set a waiting trial to RUNNING; False if it is not waiting.

        Its first heartbeat is in the same transaction, so that no running trial lacks one.
        """
        return self.retrying(self._take, trial_id)

    def _take(self, trial_id: int) -> bool:
        with self.exclusive(), Session(self.engine) as session, session.begin():
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            if trial.state != TrialState.WAITING:
                return False
            trial.state, trial.datetime_start = TrialState.RUNNING, datetime.now()
            session.add(models.TrialHeartbeatModel(trial_id=trial_id))
        return True

    def finish(
        self, trial_id: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        """Set the attributes, the values and then the state of a trial.

        Raises:
            UpdateFinishedTrialError: it is already finished.
        """
        self.retrying(self._finish, trial_id, state, values, attrs)

    def _finish(
        self, trial_id: int, state: TrialState, values: list[float] | None, attrs: Mapping[str, Any]
    ) -> None:
        with Session(self.engine) as session, session.begin():
            trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
            self.check_trial_is_updatable(trial_id, trial.state)  # type: ignore[arg-type]
            session.add_all(_attributes(attrs, trial_id=trial_id))
            for objective, value in enumerate(values or ()):
                stored, kind = models.TrialValueModel.value_to_stored_repr(value)
                session.add(
                    models.TrialValueModel(
                        trial_id=trial_id, objective=objective, value=stored, value_type=kind
                    )
                )
            trial.state, trial.datetime_complete = state, datetime.now()

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """As Optuna's, but trials that wait or are finished are read once."""
        return self.retrying(
            self._read, study_id, states, included_trial_ids, trial_id_greater_than
        )

    def _read(
        self, study_id: int, states: Container[TrialState] | None, included: set[int], after: int
    ) -> list[FrozenTrial]:
        model = models.TrialModel
        states_only = select(model.trial_id, model.state).where(model.study_id == study_id)
        with Session(self.engine) as session:
            wanted = [
                (trial_id, state)
                for trial_id, state in session.execute(states_only.order_by(model.trial_id))
                if (trial_id > after or trial_id in included)
                and (states is None or state in states)
            ]
            found = {
                trial_id: self._settled[trial_id]
                for trial_id, state in wanted
                if trial_id in self._settled and self._settled[trial_id].state == state
            }
            unread = iter([trial_id for trial_id, _ in wanted if trial_id not in found])
            while some := list(islice(unread, READ_AT_ONCE)):
                for row in session.scalars(_whole().where(model.trial_id.in_(some))):
                    trial = self._build_frozen_trial_from_trial_model(row)
                    found[trial._trial_id] = trial
                    if trial.state != TrialState.RUNNING:
                        self._settled[trial._trial_id] = trial
        return [found[trial_id] for trial_id, _ in wanted]


def _whole() -> Select[Any]:
    """Reads trials with all their parts, in one query for each part."""
    parts = ("params", "values", "user_attributes", "system_attributes", "intermediate_values")
    loaded = (selectinload(getattr(models.TrialModel, part)) for part in parts)
    return select(models.TrialModel).options(*loaded)


def _row(study_id: int, number: int, trial: FrozenTrial) -> models.TrialModel:
    """A trial with its parameters and attributes, as Optuna stores it."""
    return models.TrialModel(
        study_id=study_id,
        number=number,
        state=trial.state,
        datetime_start=trial.datetime_start,
        datetime_complete=trial.datetime_complete,
        params=[
            models.TrialParamModel(
                param_name=name,
                param_value=trial.distributions[name].to_internal_repr(value),
                distribution_json=distribution_to_json(trial.distributions[name]),
            )
            for name, value in trial.params.items()
        ],
        user_attributes=_attributes(trial.user_attrs),
    )


def _attributes(attrs: Mapping[str, Any], **of: int) -> list[models.TrialUserAttributeModel]:
    return [
        models.TrialUserAttributeModel(key=key, value_json=json.dumps(value), **of)
        for key, value in attrs.items()
    ]


def _retried(name: str) -> Callable[..., Any]:
    method = getattr(RDBStorage, name)

    @functools.wraps(method)
    def call(self: Database, *args: Any, **kwargs: Any) -> Any:
        return self.retrying(method, self, *args, **kwargs)

    return call


for _name in (
    *("create_new_study", "get_study_id_from_name", "get_study_name_from_id", "get_trial"),
    *("get_study_directions", "get_study_user_attrs", "get_study_system_attrs"),
    *("get_trial_id_from_study_id_trial_number", "set_trial_state_values"),
    *("set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr"),
    "_get_stale_trial_ids",
):
    # Not `record_heartbeat`: the next heartbeat follows soon.
    setattr(Database, _name, _retried(_name))
