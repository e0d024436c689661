"""The names of commands in what is printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from condense.__main__ import COMMANDS, PROG
from condense.cli.app import dispatch
from condense.errors import UserError
from condense.system.scripts import SCRIPTS, as_started
from continual import run as continual_run
from nas import compare, search

PROGS = {PROG, continual_run.PROG, search.PROG, compare.PROG}


def started_as(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(sys, "argv", [path])


def test_every_command_has_a_script() -> None:
    assert set(SCRIPTS) == PROGS


@pytest.mark.parametrize("path", ["/x/condense/__main__.py", "/x/nas/search.py", "-c", ""])
def test_a_module_keeps_its_name(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    started_as(monkeypatch, path)
    assert as_started("python -m condense run") == "python -m condense run"


@pytest.mark.parametrize("path", ["/x/bin/condense-nas", r"condense-nas.exe"])
def test_a_script_shows_scripts(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    started_as(monkeypatch, path)
    assert as_started("python -m nas.search") == "condense-nas"
    assert as_started("python -m nas.compare") == "condense-nas-compare"
    assert as_started("python -m condense run") == "condense run"
    assert as_started("python -m condensed") == "python -m condensed"


def test_help_and_hints_show_scripts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    started_as(monkeypatch, "/x/bin/condense")
    dispatch(PROG, COMMANDS, [])
    assert capsys.readouterr().out.startswith("usage: condense COMMAND [--help]\n")
    with pytest.raises(SystemExit):
        COMMANDS["methods"](["--help"])
    assert capsys.readouterr().out.startswith("usage: condense methods ")
    (tmp_path / "config.json").write_text(json.dumps({"command": search.PROG}))
    with pytest.raises(UserError, match=f"another command: condense-nas --resume {tmp_path}"):
        COMMANDS["run"](["--resume", str(tmp_path)])
