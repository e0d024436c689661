"""What passes, and what a case that fails is called."""

from __future__ import annotations

import re

from tests.forkserver.client import Ended

MOST_CHARACTERS = 500
MOST_MEMORY = 2 << 30
CPU_SECONDS = 20
_BAR = re.compile(r"\d+%\||\d+it \[|it/s\]|s/it\]")
_STOPPED = {
    "cpu": f"hangs: {CPU_SECONDS} s of processor time without a step",
    "asleep": f"hangs: sleeps for {CPU_SECONDS} s",
    "wall": "hangs: no end",
}


def fault(ended: Ended) -> str | None:
    """What is wrong with how a command has ended, in a line; None where nothing is."""
    if ended.stopped == "at work":
        return None
    if ended.stopped:
        return _STOPPED[ended.stopped]
    said = message(ended.err)
    if "Traceback (most recent call last)" in ended.err or ended.code not in (0, 2):
        last = ended.err.strip().splitlines()[-1:] or [""]
        return f"exit {ended.code}: {last[0][:200]} ({where(ended.err)})"
    if ended.memory > MOST_MEMORY:
        return f"takes {ended.memory / 2**30:.1f} GB"
    if ended.code == 2 and len(said) != 1:
        return f"a message of {len(said)} lines: {' | '.join(said)[:200]}"
    if any(len(line) > MOST_CHARACTERS for line in said):
        longest = max(said, key=len)
        return f"a message of {len(longest)} characters: {longest[:120]}…"
    return None


def message(err: str) -> list[str]:
    """The lines of stderr that are neither warnings nor notes nor progress bars."""
    lines = [line for part in err.split("\n") for line in part.split("\r")]
    return [
        line
        for line in lines
        if line.strip()
        and not line.lower().startswith(("warning:", "note:"))
        and not _BAR.search(line)
    ]


def where(err: str) -> str:
    """The innermost line of our own in a traceback."""
    ours = re.findall(r'File "[^"]*/((?:condense|continual|nas)/[^"]+)", line (\d+), in (\S+)', err)
    return ":".join(ours[-1]) if ours else "outside"
