"""Commands by two names: `python -m MODULE`, or an installed script."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SCRIPTS = {
    "python -m condense": "condense",
    "python -m continual.run": "condense-continual",
    "python -m nas.search": "condense-nas",
    "python -m nas.compare": "condense-nas-compare",
}
"""The script of each command, as in `pyproject.toml`."""


def as_started(command: str) -> str:
    """The command by the name with which this process was started.

    Only for what is printed: files have the name of the module, so that both ways write the same
    bytes and can resume each other's runs.

    >>> as_started("python -m condense run")
    'python -m condense run'
    """
    if Path(sys.argv[0]).stem not in SCRIPTS.values():
        return command
    for module, script in SCRIPTS.items():
        if f"{command} ".startswith(f"{module} "):
            return script + command.removeprefix(module)
    return command


def resume_command(command: str, run: Path) -> str:
    """What resumes a run, for a terminal.

    Args:
        command: the one that made it, by the name of its module.
        run: its folder.
    """
    return f"{as_started(command)} --resume {shlex.quote(str(run))}"
