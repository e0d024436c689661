"""Command lines as users type them: `python -m MODULE ARGUMENTS`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tests.forkserver.client import Command, shared_server
from tests.helpers.processes import HANGS


def run_module(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    server: Literal["engine", "learning"] = "engine",
) -> subprocess.CompletedProcess[str]:
    """Runs a module in a process of its own; where the system can, in a fork that need not import.

    Args:
        arguments: the module and its arguments.
        folder: the current folder.
        environment: all environment variables.
        server: which fork server; "learning" has Avalanche.
    """
    if hasattr(os, "pidfd_open"):
        module, *others = arguments
        command = Command(module, others, folder, dict(environment), wall_seconds=HANGS)
        ended = shared_server(server).run(command)
        assert not ended.stopped, f"{' '.join(arguments)} hangs\n{ended.err}"
        return subprocess.CompletedProcess(arguments, ended.code, ended.out, ended.err)
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=HANGS,
    )
