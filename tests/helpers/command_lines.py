"""Command lines of the documents: read by the real parsers, without being run."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
import tyro

from tests.helpers.processes import ROOT

LIBRARIES = ("pytest", "tensorboard", "optuna-dashboard", "sbatch")
"""Commands of others, whose arguments are not checked."""


class ParsedError(Exception):
    """A command has read its flags."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.settings = settings


def split(line: str) -> tuple[str, list[str]]:
    """(module, arguments) of a command that runs Python code of this project, else (program,
    arguments)."""
    program, *arguments = shlex.split(line, comments=True)
    scripts = {script.name: script.module for script in entry_points(group="console_scripts")}
    if program in ("python", "torchrun") and "-m" in arguments:
        at = arguments.index("-m")
        return arguments[at + 1], arguments[at + 2 :]
    if scripts.get(program, "").partition(".")[0] in ("condense", "continual", "nas"):
        return scripts[program], arguments
    return program, arguments


def parse(line: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The settings of a command line; None if it is not one of this project.

    Raises:
        UserError: an argument is not valid.
        AssertionError: the command does not exist, or reads no flags.
    """
    module, arguments = split(line)
    if module == "pip":
        check_pip(arguments)
        return None
    if module in LIBRARIES:
        return None
    original = tyro.cli

    def stopping(*some: Any, **more: Any) -> Any:
        raise ParsedError(original(*some, **more))

    with monkeypatch.context() as patched:
        patched.setattr(tyro, "cli", stopping)
        patched.setattr("condense.cli.app.main", lambda command, **_: command(sys.argv[1:]))
        patched.setattr(sys, "argv", [module, *arguments])
        with pytest.raises((ParsedError, SystemExit)) as stopped:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    if isinstance(stopped.value, ParsedError):
        return stopped.value.settings
    assert "--help" in arguments
    assert not stopped.value.code
    return None


def check_pip(arguments: list[str]) -> None:
    """Check that the extras which `pip install` names exist."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    known = re.findall(r"^(\w+) = ", section, flags=re.MULTILINE)
    assert arguments[0] == "install"
    own = [one for one in arguments if one.startswith((".", "condense"))]
    named = {extra for one in own for extra in re.findall(r"\w+", one.partition("[")[2])}
    assert named <= {*known}
