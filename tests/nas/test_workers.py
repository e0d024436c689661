from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pandas
import pytest
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import nas.experiment
from condense import UserError
from nas import Space, TrialResult, search, space_named, worker_process
from nas.experiment import Experiment
from nas.schedule import Plan
from nas.search import defaults
from nas.settings import Search
from nas.worker_process import Task
from nas.workers import (
    DEATHS_IN_A_ROW,
    Crew,
    is_over,
    on_device,
    run_worker,
    train_waiting,
    work,
)
from tests.helpers.processes import at_work, wait_until, workers_of
from tests.helpers.tiny_searches import QUICK, in_an_empty_folder, run, summary  # noqa: F401


@pytest.mark.xdist_group("workers")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_workers_killed_again_and_again_lose_nothing_and_double_nothing() -> None:
    """As a user runs it; one of the workers is killed -9 three times."""
    flags = ("--space", "own_space:quick", "--proxy", "dsa", "--n-trials", "9")
    more = ("--workers", "2", "--training.epochs", "60", "--out", "run")
    searching = subprocess.Popen(
        [sys.executable, "-m", "nas.search", *QUICK, *flags, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed, draws, journal = 0, random.Random(0), Path("run/study.log")
    for _ in at_work(searching, pause=0.02):
        done = journal.read_text().count('"score"') if journal.is_file() else 0
        workers = workers_of(searching.pid)
        if workers and killed < min(done, 3):  # once one is done, they are at work
            os.kill(draws.choice(workers), signal.SIGKILL)
            killed += 1
    _, errors = searching.communicate()
    assert searching.returncode == 0, errors
    assert killed >= 2
    storage = JournalStorage(JournalFileBackend(str(journal)))
    trials = storage.get_all_trials(storage.get_all_studies()[0]._study_id)
    complete = Counter(
        trial.user_attrs["index"] for trial in trials if trial.state == TrialState.COMPLETE
    )
    assert complete == Counter(space_named("own_space:quick").order()[:9])
    abandoned = [trial for trial in trials if trial.state == TrialState.FAIL]
    assert len(trials) == 9 + len(abandoned)
    assert len(abandoned) <= killed
    assert len(Path("run/history.csv").read_text().splitlines()) == 10
    assert summary("run")["n_complete"] == 9


def is_alive(process: int) -> bool:
    """Whether a process is there and is not only waiting for someone to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
@pytest.mark.parametrize("moment", ["beginning", "training"])
def test_workers_end_with_a_parent_that_is_killed(moment: str) -> None:
    """Else they would train on for hours beside the search that is gone on with."""
    flags = ("--space", "own_space:quick", "--proxy", "random", "--n-trials", "4", "--out", "run")
    endless = ("--workers", "2", "--training.epochs", "2000000000")
    searching = subprocess.Popen(
        [sys.executable, "-m", "nas.search", *QUICK, *flags, *endless],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    workers: list[int] = []
    try:
        wait_until(lambda: len(workers_of(searching.pid)) == 2 or searching.poll() is not None)
        workers = workers_of(searching.pid)
        claimed = f'"state":{TrialState.RUNNING.value}'
        if moment == "training":
            wait_until(lambda: Path("run/study.log").read_text().count(claimed) == 2)
        assert all(map(is_alive, workers))
        searching.kill()
        searching.wait()
        wait_until(lambda: not any(map(is_alive, workers)))
    finally:
        searching.kill()
        for worker in filter(is_alive, workers):
            os.kill(worker, signal.SIGKILL)


@pytest.mark.parametrize(
    ("device", "count", "expected"),
    [
        ("auto", 3, ["cuda:0", "cuda:1", "cuda:2", "cuda:0"]),
        ("cuda", 2, ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]),
        ("cuda:1", 3, ["cuda:1"] * 4),
        ("cpu", 3, ["cpu"] * 4),
        ("auto", 1, ["auto"] * 4),
        ("auto", 0, ["auto"] * 4),
    ],
)
def test_worker_i_uses_device_i(
    device: str, count: int, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    settings = defaults("smoke", "random")
    settings = replace(settings, common=replace(settings.common, device=device))
    assert [on_device(settings, worker).common.device for worker in range(4)] == expected


class Waiting:
    """A study whose last trial is run by another machine."""

    def __init__(self) -> None:
        self.polls = 0

    def ask(self) -> None:
        return None

    def fill(self) -> bool:
        self.polls += 1
        return self.polls < 3

    def waiting(self) -> int:
        return 0


def test_a_worker_ends_when_no_trial_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.workers.POLL_SECONDS", 0)
    study: Any = Waiting()
    train_waiting(None, study, None)  # type: ignore[arg-type]
    assert study.polls == 0
    work(None, study, None, lambda: None)  # type: ignore[arg-type]
    assert study.polls == 3, "the main process waits for the results of others"


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Three workers for four architectures, which share eight threads; none is started."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    settings = replace(defaults("smoke", "random"), workers=3)
    experiment: Any = SimpleNamespace(
        settings=settings,
        folder=Path("run"),
        begun=datetime.min,
        plan=Plan([3, 1, 0, 2]),
        space=SimpleNamespace(fingerprint=""),
    )
    return Crew(experiment, None)


def test_workers_share_the_threads(crew: Crew) -> None:
    assert [task.plan.threads for task in crew._tasks] == [dict.fromkeys([3, 1, 0, 2], 2)] * 3


def test_deaths_count_until_there_is_a_result(crew: Crew) -> None:
    for done in range(1, 3 * DEATHS_IN_A_ROW):
        crew._count_end(done, killed=True)
    for _ in range(DEATHS_IN_A_ROW - 1):
        crew._count_end(done, killed=True)
    with pytest.raises(UserError, match=r"killed repeatedly: .* --resume run --workers 1"):
        crew._count_end(done, killed=True)


def test_workers_that_find_no_trial_are_not_hired_for_ever(crew: Crew) -> None:
    ended: Any = SimpleNamespace(is_alive=lambda: False, exitcode=0)
    for _ in range(3 * DEATHS_IN_A_ROW):
        crew.working = {0: ended}
        crew.dismiss(lambda: 5, 0)  # nothing waits: they have done all
    for _ in range(DEATHS_IN_A_ROW):
        crew.working = {0: ended, 1: ended, 2: ended}
        crew.dismiss(lambda: 6, 2)
    crew.working = {0: ended}
    with pytest.raises(UserError, match=r"find no trial in the storage, although .* --resume run"):
        crew.dismiss(lambda: 6, 2)


def test_the_deadline_waits_for_a_result() -> None:
    known: dict[int, Any] = {}
    study: Any = SimpleNamespace(known=lambda: known)
    assert not is_over(study, 0.0)
    known[3] = None
    assert is_over(study, 0.0)
    assert not is_over(study, None)


def test_a_space_that_differs_in_every_process_is_said(tmp_path: Path) -> None:
    """Else its workers would find nothing to do, for ever."""
    settings = defaults("smoke", "random")
    with pytest.raises(UserError, match="convnets is another space in a worker"):
        Experiment.in_worker(settings, tmp_path, datetime.now(), Plan([0]), "another hash")


def task_of(settings: Search, folder: Path) -> Task:
    return Task(settings, folder, datetime.min, Plan([0]), "", None)


def test_a_worker_computes_as_the_command_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its process has another device, and nothing of what the command has set in its own."""
    calls: list[Any] = []

    def refuse(*_: Any) -> None:
        raise UserError("the images are gone")

    monkeypatch.setattr("nas.workers.keep_freed_memory", lambda: calls.append("memory"))
    monkeypatch.setattr(
        "nas.workers.set_determinism", lambda common: calls.append(common.deterministic)
    )
    monkeypatch.setattr("nas.workers.choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", calls.append)
    monkeypatch.setattr(Experiment, "in_worker", refuse)
    settings = defaults("smoke", "random")
    common = replace(settings.common, device="cuda:1", deterministic=True)
    task = task_of(replace(settings, common=common), tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_worker(task)
    assert ended.value.code == 2
    assert calls == ["memory", True, torch.device("cuda:1")]
    assert capsys.readouterr().err == "the images are gone\n"


def test_ctrl_c_while_a_worker_imports_torch_is_for_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has the same terminal, and printed a traceback in these seconds."""
    handlers: list[Any] = []
    imported = SimpleNamespace(
        run_worker=lambda _: handlers.append(signal.getsignal(signal.SIGINT))
    )
    monkeypatch.setitem(sys.modules, "nas.workers", imported)
    monkeypatch.setattr(worker_process, "Thread", Mock())
    before = signal.getsignal(signal.SIGINT)
    try:
        worker_process.start(task_of(defaults("smoke", "random"), Path("run")))
    finally:
        signal.signal(signal.SIGINT, before)
    assert handlers == [signal.SIG_IGN]


ASSERT = "CUDA error: device-side assert triggered\nCompile with `TORCH_USE_CUDA_DSA`"


@pytest.mark.parametrize(
    ("error", "killed", "code", "said"),
    [
        (
            torch.AcceleratorError(ASSERT),
            [(os.getpid(), signal.SIGKILL)],
            None,
            "a worker ends: the device failed: CUDA error: device-side assert triggered",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried to"),
            [],
            2,
            "no memory for the images of a worker: CUDA out of memory. Tried to: use fewer "
            "--workers, with --resume run",
        ),
    ],
    ids=["failed", "memory"],
)
def test_a_worker_whose_device_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    killed: list[tuple[int, int]],
    code: int | None,
    said: str,
) -> None:
    """After a fault of the device it ends as if killed, so another one takes its place."""
    kills: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda *given: kills.append(given))
    monkeypatch.setattr(Experiment, "in_worker", Mock(side_effect=error))
    ended = None
    try:
        run_worker(task_of(defaults("smoke", "random"), Path("run")))
    except SystemExit as stopped:
        ended = stopped.code
    assert (kills, ended) == (killed, code)
    assert capsys.readouterr().err == f"{said}\n"


def test_one_process_goes_on_after_a_fault_of_the_device_when_it_is_resumed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    objective, trained = nas.experiment.train_architecture, []

    def train(space: Space, index: int, *rest: Any) -> TrialResult:
        trained.append(index)
        if len(trained) == 2:
            raise torch.AcceleratorError(ASSERT)
        return objective(space, index, *rest)

    monkeypatch.setattr(nas.experiment, "train_architecture", train)
    with pytest.raises(UserError, match=r"device-side assert .* --resume run$") as caught:
        run("--space", "own_space:quick", "--proxy", "random", "--n-trials", "3", "--out", "run")
    assert str(caught.value).startswith(space_named("own_space:quick").names[trained[1]])
    search.run(["--resume", "run", "--quiet"])
    assert len(trained) == 4, "the two others, and the best one on the whole set"
    rows = pandas.read_csv("run/architectures.csv").set_index("index")
    assert sorted(rows["status"]) == ["complete", "complete", "failed"]
    reason = rows.loc[trained[1], "reason"]
    assert reason == "the device failed: CUDA error: device-side assert triggered"


def test_a_fault_of_the_device_in_the_retraining_is_its_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failing = Mock(side_effect=torch.AcceleratorError(ASSERT))
    monkeypatch.setattr(nas.experiment, "train_architecture", failing)
    monkeypatch.setattr(Experiment, "train", lambda *_: TrialResult(5, 0.5))
    run("--space", "own_space:quick", "--proxy", "random", "--n-trials", "2", "--out", "run")
    assert summary("run")["best_accuracy"] is None
    assert summary("run")["retrained_reason"].startswith("the device failed: CUDA error")
