from __future__ import annotations

import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from pathlib import Path

import optuna
import pytest
from filelock import FileLock, Timeout
from optuna.trial import TrialState

import nas.liveness
from nas import TrialResult
from nas.storage import JOURNAL
from nas.study import ATTEMPTS
from tests.helpers.postgres import server
from tests.helpers.processes import HANGS, wait_until
from tests.helpers.tiny_studies import result, shared

POSTGRES = pytest.param("postgres", marks=pytest.mark.xdist_group("postgres"))


@pytest.fixture(params=["journal", "sqlite", POSTGRES])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    if request.param == "postgres":
        return server().new_database(tmp_path.name)
    return None if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def test_each_is_trained_once_in_the_order_wanted(tmp_path: Path, url: str | None) -> None:
    one, other = shared(tmp_path, url), shared(tmp_path, url)
    assert one.fill()
    assert other.fill()
    taken = []
    for study in (one, other, other, one):
        trial = study.ask()
        assert trial is not None
        taken.append(study.index(trial))
        study.tell(trial, result(study.index(trial) / 10))
    assert taken == [3, 0, 5, 1]
    assert one.ask() is None
    assert not other.fill()
    assert one.done() == {index: result(index / 10) for index in taken}
    assert list(shared(tmp_path, url).done()) == taken


def test_results_are_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    study = shared(tmp_path, wanted=(0, 1))
    study.fill()
    first, second = study.ask(), study.ask()
    assert first is not None
    assert second is not None
    study.tell(second, result(0.5))
    study.tell(first, result(0.25))
    assert list(shared(tmp_path, wanted=(0, 1)).done()) == [1, 0]


def test_results_of_architectures_that_are_not_wanted_do_not_count(tmp_path: Path) -> None:
    study, other = shared(tmp_path, wanted=(2,)), shared(tmp_path, wanted=(4,))
    study.fill()
    trial = study.ask()
    assert trial is not None
    study.tell(trial, result(0.5))
    assert other.fill()
    assert not other.done()


def test_many_threads_ask_each_once(tmp_path: Path, url: str | None) -> None:
    def work(_: int) -> list[int]:
        study = shared(tmp_path, url, wanted=tuple(range(6)))
        study.fill()
        taken = []
        while (trial := study.ask()) is not None:
            taken.append(study.index(trial))
            study.tell(trial, result(0.1))
        return taken

    with ThreadPoolExecutor(4) as threads:
        taken = [index for indices in threads.map(work, range(4)) for index in indices]
    assert Counter(taken) == Counter(range(6))


@pytest.mark.parametrize("url", ["journal", "sqlite"], indirect=True)
def test_one_ask_at_a_time(tmp_path: Path, url: str | None) -> None:
    """SQLite would let two read that a trial waits before either writes that it runs.

    A server locks the rows.
    """
    study = shared(tmp_path, url)
    lock = tmp_path / (".study.log.lock" if url is None else "study.db.lock")
    with study._storage.exclusive(), pytest.raises(Timeout):
        FileLock(lock, timeout=0).acquire()
    FileLock(lock, timeout=0).acquire().lock.release()


def test_what_a_dead_worker_leaves_is_taken_again(tmp_path: Path) -> None:
    dead, alive = shared(tmp_path), shared(tmp_path)
    dead.fill()
    left, kept = dead.ask(), alive.ask()
    assert left is not None
    assert kept is not None
    alive.fill()
    remaining = [alive.ask() for _ in range(2)]
    assert all(remaining)
    assert alive.ask() is None
    alive.fill()
    assert alive.ask() is None, "its worker is alive"
    dead._liveness._own.release()  # type: ignore[attr-defined]  # as the system does at its death
    alive.fill()
    again = alive.ask()
    assert again is not None
    assert alive.index(again) == alive.index(left)
    for trial in (kept, again, *remaining):
        assert trial is not None
        alive.tell(trial, result(0.5))
    dead.tell(left, result(0.9))  # somebody thought dead comes back: too late
    assert not alive.fill()
    assert {found.score for found in alive.done().values()} == {0.5}
    assert list((tmp_path / ".workers").glob("*.lock")) == [
        alive._liveness._path(alive._liveness._name)
    ]  # type: ignore[attr-defined]


LONG_AGO = "2000-01-01 00:00:00.000000"


def set_heartbeat(database: Path, when: str) -> None:
    with closing(sqlite3.connect(database, timeout=HANGS)) as connection, connection:
        connection.execute("UPDATE trial_heartbeats SET heartbeat = ?", (when,))


def last_heartbeat(database: Path) -> str:
    with closing(sqlite3.connect(database, timeout=HANGS)) as connection:
        return str(connection.execute("SELECT heartbeat FROM trial_heartbeats").fetchone()[0])


def test_a_worker_without_a_recent_heartbeat_is_dead(tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    dead, alive = (shared(tmp_path, f"sqlite:///{database}", (2,)) for _ in range(2))
    dead.fill()
    assert dead.ask() is not None
    alive.fill()
    assert alive.ask() is None
    set_heartbeat(database, LONG_AGO)
    alive.fill()
    assert alive.ask() is not None


def test_a_worker_with_heartbeats_keeps_its_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nas.liveness, "HEARTBEAT_SECONDS", 0.01)
    database = tmp_path / "study.db"
    slow, other = (shared(tmp_path, f"sqlite:///{database}", (2,)) for _ in range(2))
    slow.fill()
    trial = slow.ask()
    assert trial is not None
    with slow.holding(trial):
        set_heartbeat(database, LONG_AGO)
        wait_until(lambda: last_heartbeat(database) > LONG_AGO)
        other.fill()
        assert other.ask() is None
    slow.tell(trial, result(0.5))
    assert [found.score for found in other.done().values()] == [0.5]


def test_what_was_killed_is_next_again(tmp_path: Path) -> None:
    killed = shared(tmp_path)
    killed.fill()
    assert killed.ask() is not None
    killed.close()
    again = shared(tmp_path)
    again.fill()
    taken = [again.ask() for _ in range(4)]
    assert [trial and again.index(trial) for trial in taken] == [3, 0, 5, 1]


def test_deaths_before_this_session_are_forgiven(tmp_path: Path, url: str | None) -> None:
    """Ctrl-C leaves what a death does; whoever goes on means to have it tried again."""
    for _ in range(ATTEMPTS):
        study = shared(tmp_path, url, (4,))
        study.fill()
        trial = study.ask()
        assert trial is not None
        study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    assert shared(tmp_path, url, (4,), since=datetime.now()).fill()


def test_an_architecture_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    for _ in range(ATTEMPTS):
        study = shared(tmp_path, wanted=(4,))
        assert study.fill()
        assert study.ask() is not None
        study.close()
    study = shared(tmp_path, wanted=(4,))
    assert not study.fill()
    (found,) = study.done().values()
    assert found.score is None
    assert found.reason is not None
    assert found.reason.startswith("killed: 5 workers died")


def test_failures_and_prunings_are_done_with(tmp_path: Path, url: str | None) -> None:
    study = shared(tmp_path, url, (0, 1))
    study.fill()
    failed, pruned = study.ask(), study.ask()
    assert failed is not None
    assert pruned is not None
    study.tell(failed, TrialResult(parameters=1, reason="diverged"))
    for steps, accuracy in ((1, 0.5), (2, 0.25)):
        study.report(pruned, steps, accuracy)
    study.tell(pruned, TrialResult(parameters=1, pruned=True, steps=4))
    assert not study.fill()
    assert study.done()[0] == TrialResult(parameters=1, reason="diverged")
    assert study.done()[1] == TrialResult(parameters=1, pruned=True, steps=4)
    assert study._storage.get_trial(pruned._trial_id).value == 0.25, "for dashboards"


def test_the_pruner_stops_the_worse_half(tmp_path: Path) -> None:
    study = shared(tmp_path, first_rung=2)
    study.fill()
    trials = [study.ask() for _ in range(4)]
    stopped = []
    for trial, accuracy in zip(trials, (0.5, 0.6, 0.2, 0.7), strict=True):
        assert trial is not None
        stopped.append(study.report(trial, 2, accuracy))
    assert stopped == [False, False, True, False]


@pytest.mark.parametrize("then", ["waits", "is done"])
def test_a_live_worker_that_was_thought_dead_stops(
    tmp_path: Path, url: str | None, then: str
) -> None:
    """Its machine slept for longer than a heartbeat may be missing; another one took over."""
    slow, other = (shared(tmp_path, url, (2,), first_rung=2) for _ in range(2))
    slow.fill()
    trial = slow.ask()
    assert trial is not None
    assert not slow.report(trial, 2, 0.5)
    other._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    assert other.fill()
    if then == "is done":
        again = other.ask()
        assert again is not None
        assert not other.report(again, 2, 0.5)
        other.tell(again, result(0.75))
    assert slow.report(trial, 4, 0.6)
    slow.tell(trial, TrialResult(7, steps=4, pruned=True))
    scores = [found.score for found in slow.done().values()]
    assert scores == ([0.75] if then == "is done" else [])
    assert slow.fill() == (then == "waits")


@pytest.mark.parametrize("killed", range(6))
def test_pruning_goes_on_as_if_nothing_had_been_killed(tmp_path: Path, killed: int) -> None:
    accuracies = (0.5, 0.9, 0.6, 0.8, 0.7, 0.4)

    def kept(folder: Path, killed: int | None = None) -> list[int]:
        study, found = shared(folder, None, tuple(range(6)), first_rung=2), []
        study.fill()
        while (trial := study.ask()) is not None:
            index = study.index(trial)
            stopped = study.report(trial, 2, accuracies[index])
            if index == killed:
                killed = None
                study.close()
                study = shared(folder, None, tuple(range(6)), first_rung=2)
                study.fill()
                continue
            if not stopped:
                found.append(index)
            score = None if stopped else accuracies[index]
            study.tell(trial, TrialResult(7, score, 2, pruned=stopped))
        return found

    assert kept(tmp_path / "whole") == kept(tmp_path / "killed", killed) == [0, 1, 3]


def test_optuna_reads_the_study(tmp_path: Path, url: str | None) -> None:
    study = shared(tmp_path, url)
    study.fill()
    trial = study.ask()
    assert trial is not None
    study.tell(trial, result(0.25))
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL))
    storage = url or optuna.storages.JournalStorage(backend)
    loaded = optuna.load_study(study_name="test", storage=storage)
    assert loaded.best_params == {"depth": 2, "width": 8}
    assert loaded.best_trial.user_attrs["architecture"] == "d2-w8-relu-instance-avg"
    assert [trial.state for trial in loaded.trials] == [
        TrialState.COMPLETE,
        *[TrialState.WAITING] * 3,
    ]


def test_trials_of_other_programs_are_ignored(tmp_path: Path, url: str | None) -> None:
    """Whatever their state, and the pruner does not compare with them either."""
    study = shared(tmp_path, url, (0, 1), first_rung=2)
    study.fill()
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / JOURNAL))
    storage = url or optuna.storages.JournalStorage(backend)
    other = optuna.load_study(study_name="test", storage=storage)
    depth = {"depth": 2}
    for attributes in ({}, {"index": "0"}, {"index": None}):
        other.enqueue_trial(depth, user_attrs=attributes)
    running = optuna.trial.create_trial(state=TrialState.RUNNING)
    better = optuna.trial.create_trial(
        value=0.9, intermediate_values={2: 0.9}, system_attrs={"completed_rung_0": 0.9}
    )
    for trial in (running, better, optuna.trial.create_trial(state=TrialState.FAIL)):
        other.add_trial(trial)
    again = shared(tmp_path, url, (0, 1), first_rung=2)
    assert again.fill()
    taken = []
    while (trial := again.ask()) is not None:
        taken.append(again.index(trial))
        assert not again.report(trial, 2, 0.5)
        again.tell(trial, result(0.5))
    assert taken == [0, 1]
    assert not again.fill()
    assert list(again.done()) == [0, 1]
    states = [trial.state for trial in other.trials[2:]]
    assert states == [
        *[TrialState.WAITING] * 3, TrialState.RUNNING, TrialState.COMPLETE, TrialState.FAIL
    ]  # fmt: skip
