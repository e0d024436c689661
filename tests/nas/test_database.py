from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

import nas.retrying
from nas import SharedStudy, Space
from nas.database import Database
from nas.retrying import StorageFailedError
from tests.helpers.postgres import server
from tests.helpers.tiny_studies import result, shared

SERVER = pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))


@pytest.fixture(params=["sqlite", SERVER])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return server().new_database(tmp_path.name)
    return f"sqlite:///{tmp_path / 'study.db'}"


@contextmanager
def away(storage: Database, statements: int) -> Iterator[list[str]]:
    """The next statements fail, as those after a restart of the server."""
    failed: list[str] = []

    def fail(_: Any, __: Any, statement: str, *___: Any) -> None:
        if len(failed) < statements:
            failed.append(statement)
            raise OperationalError(statement, {}, Exception("the database is starting up"))

    event.listen(storage.engine, "before_cursor_execute", fail)
    try:
        yield failed
    finally:
        event.remove(storage.engine, "before_cursor_execute", fail)


def database(study: SharedStudy) -> Database:
    assert isinstance(study._storage, Database)
    return study._storage


def test_a_result_is_kept_until_the_database_is_back(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.retrying.time, "sleep", lambda _: None)
    study = shared(tmp_path, url, patience=600)
    for call in (study.fill, study.done):
        with away(database(study), 3) as failed:
            call()
        assert len(failed) == 3
    with away(database(study), 3):
        trial = study.ask()
    assert trial is not None
    with away(database(study), 3) as failed:
        study.tell(trial, result(0.25))
    assert len(failed) == 3
    assert {found.score for found in shared(tmp_path, url).done().values()} == {0.25}


@pytest.mark.xdist_group("postgres")
def test_a_result_is_kept_while_the_server_is_restarted(tmp_path: Path) -> None:
    postgres = server()
    study = shared(tmp_path, postgres.new_database(f"{tmp_path.name}-restarted"), patience=600)
    study.fill()
    trial = study.ask()
    assert trial is not None
    postgres.stop()
    postgres.start()
    study.tell(trial, result(0.25))
    assert [found.score for found in study.done().values()] == [0.25]


def test_after_an_outage_nobody_is_dead_at_once(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody could record a heartbeat, so old heartbeats say nothing."""
    monkeypatch.setattr(nas.retrying.time, "sleep", lambda _: None)
    monkeypatch.setattr(Database, "_get_stale_trial_ids", lambda *_: [running._trial_id])
    slow, other = (shared(tmp_path, url, (2,), patience=600) for _ in range(2))
    slow.fill()
    running = slow.ask()
    assert running is not None
    with away(database(other), 1):
        other.fill()
    assert database(other).get_trial(running._trial_id).state == TrialState.RUNNING
    monkeypatch.setattr(database(other).retrying, "_failed", -float("inf"))
    other.fill()
    assert database(other).get_trial(running._trial_id).state == TrialState.FAIL


def test_an_outage_while_an_architecture_is_trained_ends_the_trial(
    tmp_path: Path, url: str
) -> None:
    study = shared(tmp_path, url, first_rung=2)
    study.fill()
    trial = study.ask()
    assert trial is not None
    with away(database(study), 99), pytest.raises(StorageFailedError, match="is starting up"):
        study.report(trial, 2, 0.5)


def statements(storage: Database) -> list[str]:
    found: list[str] = []
    event.listen(
        storage.engine,
        "before_cursor_execute",
        lambda _, __, statement, *___: found.append(statement),
    )
    return found


def test_a_trial_costs_the_same_however_many_there_are(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.study.READ_SECONDS", 1e9)
    costs, filling = [], []
    for count in (10, 300):
        space = Space([f"network {number}" for number in range(count)], build=print)
        with closing(
            SharedStudy(space, range(count), name=f"of {count}", folder=tmp_path, url=url)
        ) as study:
            commits: list[object] = []
            event.listen(database(study).engine, "commit", commits.append)
            study.fill()
            filling.append(len(commits))
            trial = study.ask()
            one = statements(database(study))
            for _ in range(5):
                assert trial is not None
                study.tell(trial, result(0.5))
                trial = study.ask()
            costs.append(len(one))
    assert costs[0] == costs[1] <= 5 * 12
    assert filling[0] == filling[1], "many trials in one transaction"


def test_trials_are_read_again_only_when_they_change(tmp_path: Path, url: str) -> None:
    one, other = shared(tmp_path, url), shared(tmp_path, url)
    one.fill()
    trial = one.ask()
    assert trial is not None
    assert other.fill()
    one.tell(trial, result(0.5))
    reading = statements(database(other))
    assert len(other.done()) == 1
    assert len(reading) > 1
    reading.clear()
    assert len(other.done()) == 1
    assert len(reading) == 1, "only the states"


def test_optuna_goes_on_with_a_study(tmp_path: Path, url: str) -> None:
    """Numbers and states are as if Optuna itself had enqueued the trials."""
    study = shared(tmp_path, url)
    study.fill()
    theirs = optuna.load_study(study_name="test", storage=url)
    assert [trial.number for trial in theirs.trials] == [0, 1, 2, 3]
    assert theirs.trials[0].params == {"depth": 2, "width": 8}
    asked = theirs.ask()
    assert (asked.number, asked.params) == (0, {"depth": 2, "width": 8})
    theirs.tell(asked, 0.75)
    assert study.done()[3].parameters == 0
    again = study.ask()
    assert again is not None
    assert again.number == 1
