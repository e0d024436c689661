"""Commands under torchrun: the results of one process, by any number of processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from condense.__main__ import Run, _run, _run_defaults
from condense.cli.app import main
from condense.cli.flags import parse
from condense.cli.ranks import as_rank, first_speaks
from condense.errors import UserError
from condense.system.notes import note
from tests.helpers.processes import HANGS, default_signals, wait_until
from tests.helpers.results import checkpoints, differences, results, rows

QUIET = ("--preset", "smoke", "--dataset", "digits", "--no-cache", "--quiet")
RUN = ("condense", "run", *QUIET, "--method", "dsa", "--ipc", "2", "--iterations", "12")
TESTS = ("--evaluation.num-eval", "3", "--evaluation.epoch-eval-train", "3", "--compare", "none")


@contextmanager
def torchrun(folder: Path, processes: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in several processes; none is left afterwards."""
    started = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", str(processes), "-m", *arguments),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=default_signals,
    )
    try:
        yield started
    finally:
        started.terminate()  # which it passes on
        started.communicate(timeout=HANGS)


@pytest.mark.xdist_group("ranks")
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc")
def test_a_killed_run_goes_on_in_another_number_of_processes(tmp_path: Path) -> None:
    """And ends with the bytes of one process."""
    run = tmp_path / "run"
    with torchrun(tmp_path, 3, *RUN, *TESTS, "--out", "run") as process:
        wait_until(lambda: rows(run) > 1 or process.poll() is not None)
        os.kill(rank_of(process.pid, 2), signal.SIGKILL)
        _, errors = process.communicate(timeout=HANGS)
    assert process.returncode, errors
    assert checkpoints(run), errors
    assert not (run / "summary.json").exists()
    with torchrun(tmp_path, 2, "condense", "run", "--resume", "run", "--quiet") as process:
        said, errors = process.communicate(timeout=HANGS)
    assert process.returncode == 0, errors
    assert said.count("digits, dsa") == 1  # only the first process prints
    alone = [sys.executable, "-m", *RUN, *TESTS, "--out", "alone"]
    subprocess.run(alone, cwd=tmp_path, check=True, capture_output=True, timeout=HANGS)
    assert not differences(results(tmp_path / "alone"), results(run))


def rank_of(leader: int, number: int) -> int:
    """The process of torchrun with this rank."""
    for process in Path(f"/proc/{leader}/task/{leader}/children").read_text().split():
        if f"RANK={number}".encode() in Path(f"/proc/{process}/environ").read_bytes().split(b"\0"):
            return int(process)
    raise AssertionError("no such process")


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the second of torchrun, without the others."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("condense.cli.ranks.GRACE_SECONDS", 0.0)
    for name, value in {"join_ranks": None, "rank": 1, "wait_for_ranks": None}.items():
        monkeypatch.setattr(f"condense.training.ranks.{name}", lambda value=value: value)


@pytest.mark.usefixtures("second")
def test_a_copy_of_a_run_needs_no_more_than_its_files(tmp_path: Path) -> None:
    """Pictures for TensorBoard are large, and a file that is being written soon has another
    name."""
    for name in ("config.json", "tensorboard/events", ".tmp-1-history.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    with as_rank(_run_defaults_with(resume=tmp_path)) as settings:
        copy = settings.common.resume
        assert copy is not None
        assert [file.name for file in copy.iterdir()] == ["config.json"]
    assert not copy.exists()


@pytest.mark.usefixtures("second")
def test_a_copy_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "not there"))
    said = "process 1 of torchrun: cannot write a temporary copy of the run: No such file"
    settings = _run_defaults_with(resume=tmp_path)
    with pytest.raises(UserError, match=said), first_speaks(), as_rank(settings):
        pytest.fail("it runs")


@pytest.mark.usefixtures("second")
def test_the_second_process_is_silent_and_names_itself_in_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "process 1 of torchrun: no disk"
    with pytest.raises(UserError, match=said), first_speaks():  # noqa: PT012
        print("said by the first one")
        note("said by the first one")
        raise UserError("no disk")
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("second")
def test_the_second_process_ends_silently_while_the_first_one_tells_the_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """torchrun ends it then by a signal."""

    def end(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", end)
    with pytest.raises(SystemExit) as stop, first_speaks():
        raise UserError("found by all")
    assert stop.value.code == 130


@pytest.mark.xdist_group("ranks")
@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--lr-imgg", "3"), "Unrecognized options: --lr-imgg, 3"),
        (("--preset", "smoke", "--dataset", "nowhere"), "unknown data set 'nowhere'"),
    ],
)
def test_a_mistake_that_all_processes_find_is_told_once(
    flags: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    (tmp_path / "patient.py").write_text(
        "import condense.__main__, condense.cli.ranks as ranks\n"
        f"ranks.GRACE_SECONDS = {HANGS}\n"
        "condense.__main__.entry_point()\n"
    )
    with torchrun(tmp_path, 2, "patient", "run", "--device", "cpu", *flags) as process:
        _, errors = process.communicate(timeout=HANGS)
    assert process.returncode
    assert errors.count(said) == 1, errors
    assert "process 1 of torchrun" not in errors
    assert "interrupted" not in errors


def _run_defaults_with(**common: Any) -> Run:
    defaults = _run_defaults()
    return replace(defaults, common=replace(defaults.common, **common))


def test_other_commands_do_not_run_several_times(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    with pytest.raises(SystemExit) as stop:
        main(lambda argv: pytest.fail("it runs"))
    assert stop.value.code == 2
    assert "torchrun can start `python -m condense run` and" in capsys.readouterr().err


def test_more_processes_than_classes_are_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("condense.training.ranks.world_size", lambda: 11)
    monkeypatch.setattr("condense.__main__.open_run", stop)
    with pytest.raises(KeyboardInterrupt):
        _run(parse(_run_defaults, [*QUIET, "--method", "dsa"], "test"))
    assert "11 processes: with 10 classes the others match nothing" in capsys.readouterr().err
