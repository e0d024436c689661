"""Run the project's commands as a user does, and read their run folders."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from condense.errors import UserError
from condense.runs.io import read_json
from condense.runs.run_dir import CONFIG, SUMMARY

ALONE = ("--compare", "none")
"""Of `condense run` without --compare: most tables have rows of random and herded images."""

AS_PUBLISHED = {
    "storage": "float32",
    "evaluation.num-eval": 5,
    "evaluation.steps": None,
    "evaluation.epoch-eval-train": 300,
    "evaluation.lr": 0.01,
    "evaluation.lr-schedule": "step",
    "evaluation.batch-size": 256,
}
"""Whole images and the test of the paper, though with fewer networks and epochs."""


def as_published(preset: str, but: Sequence[str] = ()) -> list[str]:
    """The flags of `python -m condense run` for `AS_PUBLISHED` in the cpu preset, without those in
    `but`; the other presets store and test so by default."""
    flags = {f"--{name}": str(value) for name, value in AS_PUBLISHED.items() if preset == "cpu"}
    return [part for name, value in flags.items() if name not in but for part in (name, value)]


def run_to_the_end(
    command: Sequence[str], flags: Sequence[str], out: Path, threads: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run `python -m COMMAND FLAGS`, or resume that run.

    Args:
        command: the module, and its sub-command if it has one.
        flags: the command's flags.
        out: the run folder, without a hash of the flags that is added to its name, so that other
            flags are another run. A finished run is read, not run again.
        threads: PyTorch's number of threads.

    Returns:
        The run's config and summary.

    Raises:
        UserError: the command fails.
    """
    out = run_folder(out, flags)
    if not (out / SUMMARY).exists():
        resume = (out / CONFIG).exists()
        condensing = list(command) == ["condense", "run"] and "--compare" not in flags
        alone = ALONE if condensing else ()
        place = ["--resume", str(out)] if resume else [*flags, *alone, "--out", str(out)]
        run_module([*command, *place, "--quiet"], threads)
    return read_json(out / CONFIG), read_json(out / SUMMARY)


def run_folder(out: Path, flags: Sequence[str]) -> Path:
    """The run folder of `run_to_the_end`, whose name has a hash of the flags."""
    return out.with_name(f"{out.name}-{sha256(' '.join(flags).encode()).hexdigest()[:8]}")


def run_module(arguments: Sequence[str], threads: int) -> None:
    """Run `python -m ARGUMENTS` without its output.

    Args:
        arguments: the module and its arguments.
        threads: PyTorch's number of threads.

    Raises:
        UserError: the command fails.
    """
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        said = done.stderr.strip()[-500:]
        raise UserError(f"{' '.join(arguments)}: exit code {done.returncode}: {said}")


def machine(threads: int) -> dict[str, str | int]:
    """The machine and software of a measurement."""
    from importlib.metadata import version

    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": version("torch"),
    }


def cores() -> int:
    """The number of CPU cores that this process may use, if known; else that of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
