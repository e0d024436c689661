"""SIGTERM and SIGHUP, which job schedulers and closed terminals send: they end as Ctrl-C does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.processes import HANGS, default_signals, in_session
from tests.helpers.results import checkpoints, differences, results, rows
from tests.helpers.split_images import write_images

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc"),
    pytest.mark.xdist_group("signals"),
]
QUIET = ("--preset", "smoke", "--no-cache", "--quiet")
DIGITS = (*QUIET, "--dataset", "digits")
OFTEN = """
import runpy, sys
from condense import RunFolder
RunFolder.checkpointer.__kwdefaults__["every_seconds"] = 0
sys.argv[0:1] = []
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Runs a command that writes every checkpoint that it may: one without a history shows no other
sign of how far it is."""


@dataclass(frozen=True)
class Job:
    """A command that goes on for hours, or for several seconds where it is resumed to its end."""

    module: str
    arguments: tuple[str, ...]
    often: bool = False
    """Whether it is started as `OFTEN`."""
    flushed: bool = True
    """Whether a checkpoint is offered at every step, so that the signal has it written."""
    number: signal.Signals = signal.SIGTERM
    resumed: bool = False


CONDENSE = ("run", *DIGITS, "--ipc", "2", "--evaluation.num-eval", "0")
JOBS = {
    "condense run": Job("condense", (*CONDENSE, "--iterations", "30"), resumed=True),
    "condense run, closed terminal": Job(
        "condense", (*CONDENSE, "--iterations", "1000000"), number=signal.SIGHUP
    ),
    "condense evaluate": Job(
        "condense",
        ("evaluate", "set.safetensors", *DIGITS, "--num-eval", "1000000"),
        often=True,
        flushed=False,
    ),
    "continual.run": Job(
        "continual.run",
        (*QUIET, "--stream", "svhn-mnist-usps", "--memory", "herding", "--seeds", "1000"),
        flushed=False,
    ),
    "nas.search": Job(
        "nas.search",
        (
            *(*DIGITS, "--proxy", "random", "--n-trials", "500", "--workers", "2"),
            *("--training.epochs", "15"),
        ),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all runs are made."""
    made = tmp_path_factory.mktemp("signals")
    for name, shape in {"svhn": (32, 32, 3), "mnist": (28, 28), "usps": (16, 16)}.items():
        write_images(made / "data", name, shape)
    yield made
    for process in in_session(*STARTED):  # of tests that have failed
        os.kill(process, signal.SIGKILL)


STARTED: list[int] = []


def start(folder: Path, job: Job, *arguments: str) -> subprocess.Popen[str]:
    """A command as a user starts it, in a session of its own."""
    begin = ["-c", OFTEN, job.module] if job.often else ["-m", job.module]
    process = subprocess.Popen(
        [sys.executable, *begin, *arguments],
        cwd=folder,
        env={
            **os.environ,
            **{"CONDENSE_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1"},
            **{"CONDENSE_CACHE": str(folder / "cache")},
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,
    )
    STARTED.append(process.pid)
    return process


def succeed(folder: Path, job: Job, *arguments: str) -> None:
    process = start(folder, job, *arguments)
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors


def wait_until_begun(process: subprocess.Popen[str], job: Job, run: Path) -> None:
    """Until the run has made steps that it can go on from, or has to when it is stopped."""
    deadline = time.monotonic() + HANGS
    while not (rows(run) > 1 if job.flushed else checkpoints(run)):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it does not begin"
        time.sleep(0.01)


def wait_until_gone(leader: int) -> None:
    """Until no process of its session is left: Python's own helpers end a moment after it."""
    deadline = time.monotonic() + HANGS
    while in_session(leader):
        assert time.monotonic() < deadline, "a process outlives the command"
        time.sleep(0.01)


@pytest.mark.parametrize("name", JOBS)
def test_a_signal_ends_a_run_that_can_be_gone_on_with(folder: Path, name: str) -> None:
    """Resumed, the run gives the same bytes: tried with one command, as `test_kills` tries all."""
    job, run = JOBS[name], folder / "run"
    if "set.safetensors" in job.arguments and not (folder / "set.safetensors").exists():
        made = ("run", *DIGITS, "--method", "random", "--evaluation.num-eval", "0", "--out", "set")
        succeed(folder, JOBS["condense run"], *made)
        shutil.copy(folder / "set" / "condensed.safetensors", folder / "set.safetensors")
    shutil.rmtree(run, ignore_errors=True)

    process = start(folder, job, *job.arguments, "--out", "run")
    wait_until_begun(process, job, run)
    os.kill(process.pid, job.number)
    _, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 128 + job.number, errors
    said = [line for line in errors.splitlines() if not line.startswith("WARNING")]
    assert len(said) == 1, errors
    assert "--resume run" in said[0]
    assert checkpoints(run)
    assert not (run / "summary.json").exists()
    wait_until_gone(process.pid)
    if job.resumed:
        succeed(folder, job, "run", "--resume", "run", "--quiet")
        succeed(folder, job, *job.arguments, "--out", "whole")
        assert not differences(results(folder / "whole"), results(run))
        assert not checkpoints(run)
