"""Asks a fork server to run command lines.

::

    with ForkServer("engine") as server:
        ended = server.start(Command("condense", ["methods"], folder)).wait()
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from condense.runs.closing import Closing

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""A fork has no threads but its own, so the server must never have started others."""


@dataclass(frozen=True)
class Command:
    """`python -m MODULE ARGUMENTS` in a folder."""

    module: str
    arguments: Sequence[str]
    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    closed_stdout: bool = False
    """As the shell's `>&-`."""
    cpu_seconds: float | None = None
    """Processor time after which it hangs (see `server._Watch`)."""
    wall_seconds: float | None = None
    memory: int | None = None
    """Bytes of address space, beyond what the server has."""
    every_seconds: float | None = None
    """How often checkpoints are written, in place of what the command says."""
    interrupt_after: int = 0
    """Ctrl-C comes when so many checkpoints have been offered."""
    steady_clock: bool = False
    """Python is told the same times in every run."""


@dataclass(frozen=True)
class Ended:
    """How a command has ended."""

    code: int
    """Of a process that was killed: the signal, negative."""
    stopped: Literal["", "cpu", "asleep", "wall", "at work"]
    """Why the server has killed it."""
    cpu: float
    """Seconds."""
    memory: int
    """Bytes, at most."""
    out: str
    err: str


class Running:
    """A command at work."""

    def __init__(self, server: ForkServer, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._server, self._out, self._err = server, out, err
        self._ended: Ended | None = None

    def ended(self, timeout: float | None = 0) -> Ended | None:
        """How it has ended, waiting for so many seconds (None: until it has)."""
        if self._ended is None and self._server.has_answered(timeout):
            answer = self._server.answer()
            out, err = (path.read_bytes().decode("utf-8", "replace") for path in self._paths)
            for path in self._paths:
                path.unlink()
            self._ended = Ended(**answer, out=out, err=err)
        return self._ended

    def wait(self) -> Ended:
        """How it ended, when it has."""
        ended = self.ended(timeout=None)
        assert ended is not None
        return ended

    def kill(self) -> None:
        """kill -9, of this process alone; nothing where it has ended."""
        if self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)

    @property
    def _paths(self) -> tuple[Path, Path]:
        return self._out, self._err


class ForkServer(Closing):
    """A fork server of its own process.

    Args:
        kind: what it imports; "learning" is what `continual` needs, and slow to start.
    """

    def __init__(self, kind: Literal["engine", "learning"]) -> None:
        module = f"{(__package__ or 'forkserver')}.server"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,  # Ctrl-C is for the one who asks
            bufsize=0,
        )
        self._spoken = tempfile.TemporaryDirectory(prefix="forkserver-")
        self.answer()

    def start(self, command: Command) -> Running:
        """Starts a command; the one before must have ended."""
        out, err = (Path(self._spoken.name, name) for name in ("out", "err"))
        request = {**asdict(command), "folder": str(command.folder), "out": str(out)}
        request["err"] = str(err)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return Running(self, self.answer()["pid"], out, err)

    def run(self, command: Command) -> Ended:
        """Runs a command to its end."""
        return self.start(command).wait()

    def has_answered(self, timeout: float | None) -> bool:
        """Whether there is an answer to be read, waiting for so many seconds."""
        return bool(select.select([self._process.stdout], [], [], timeout)[0])

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            RuntimeError: the server has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fork server has ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the server, and a command that is still at work."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._spoken.cleanup()


@functools.cache
def shared_server(kind: Literal["engine", "learning"]) -> ForkServer:
    """The server of this kind for all tests of a process: it takes seconds to start."""
    server = ForkServer(kind)
    atexit.register(server.close)
    return server
