"""Running Python as users do: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

HANGS = 1800.0
"""Seconds after which a process hangs, however busy the machine is."""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS)
