"""run.log: when what happened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from condense import RunFolder, UserError
from condense.runs import run_log


def lines(folder: Path) -> list[str]:
    found = (folder / "run.log").read_text().splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  .+", line) for line in found)
    return [line[21:] for line in found]


def test_the_log_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder.create(tmp_path / "run", {"command": "python -m x"}) as folder:
        with folder.checkpointer() as steps:
            for step in range(1, 6):
                steps.report(step, 5, loss=step / 8)
        folder.say("two\nlines")
    assert capsys.readouterr().out == "two\nlines\n"
    started, *rest = lines(tmp_path / "run")
    assert started.startswith("started: python -m x, version ")
    assert rest == ["step: 1 of 5, loss 0.125", "step: 5 of 5, loss 0.625", "two", "lines", "ended"]


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.create(tmp_path / "run", {}):
        raise KeyboardInterrupt
    assert lines(tmp_path / "run")[-1] == "stopped: KeyboardInterrupt"


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError), RunFolder.create(tmp_path / "run", {}):
        raise UserError("wrong")
    assert not (tmp_path / "run").exists()


def test_all_reports_after_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "EVERY_SECONDS", 0.0)
    steps = run_log.LoggedProgress(run_log.RunLog(tmp_path / "run.log"), "test")
    for step in range(1, 4):
        steps.report(step, 9)
    assert lines(tmp_path) == ["test: 1 of 9", "test: 2 of 9", "test: 3 of 9"]


def test_stages_begin_and_end_with_a_line_and_the_first_report_is_one(tmp_path: Path) -> None:
    steps = run_log.LoggedProgress(run_log.RunLog(tmp_path / "run.log"), "test")
    for name in ("training network 1", "training network 2"):
        for step in range(4):
            steps.stage(name, 3, step)
        for step in range(1, 4):
            steps.report(step, 9)
    expected = [
        *("training network 1: 0 of 3", "training network 1: 3 of 3", "1 of 9"),
        *("training network 2: 0 of 3", "training network 2: 3 of 3"),
    ]
    assert [line.removeprefix("test").lstrip(",: ") for line in lines(tmp_path)] == expected
