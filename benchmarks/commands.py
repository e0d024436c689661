"""Commands run as a user types them, and what their run folders say."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from condense.errors import UserError
from condense.files import read_json


def run_to_the_end(
    command: Sequence[str], flags: Sequence[str], out: Path, threads: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run `python -m COMMAND FLAGS --out OUT`, or go on with the run that is there.

    Args:
        command: the module, and its sub-command where it has one.
        flags: what follows.
        out: the run's folder; a finished one is read, not run again.
        threads: for PyTorch.

    Returns:
        Its config and its summary.

    Raises:
        UserError: the command fails.
    """
    if not (out / "summary.json").exists():
        resume = (out / "config.json").exists()
        place = ["--resume", str(out)] if resume else [*flags, "--out", str(out)]
        done = subprocess.run(
            [sys.executable, "-m", *command, *place, "--quiet"],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            raise UserError(f"{out}: exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    return read_json(out / "config.json"), read_json(out / "summary.json")


def machine(threads: int) -> dict[str, str | int]:
    """What figures are measured on."""
    from importlib.metadata import version

    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def cores() -> int:
    """Those that this process may use, where the system says so."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
