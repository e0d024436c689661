"""Running Python as users do: in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)
