"""Draws cases, runs them, and says what was wrong with which."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from condense.runs.closing import Closing
from tests.forkserver.client import Command, Ended, ForkServer, shared_server

from . import bases, files, lines, runs
from .case import KINDS, Case, Name, environment
from .verdict import CPU_SECONDS, MOST_MEMORY, fault

WALL_SECONDS = 1200
"""Nothing is as slow as this on the busiest machine."""
SOME = 512 << 20
"""Memory beyond what is forbidden, so that it is measured and not refused."""


@dataclass(frozen=True)
class Failure:
    """A case that has failed."""

    case: Case
    fault: str
    ended: Ended

    def __str__(self) -> str:
        line = shlex.join([self.case.module, *self.case.arguments])
        line = line if len(line) <= 400 else line[:399] + "…"
        shown = f"{self.fault}\n  python -m {line}\n  {self.case.about}\n"
        again = f"  again: python -m tests.fuzz {self.case.name}"
        return (shown + again).encode("utf-8", "backslashreplace").decode()


class Session(Closing):
    """Fork servers and runs to be mutated, for as many cases as one likes.

    Args:
        seed: of all that is drawn.
        learning: whether `continual.run` is among the commands, whose server starts slowly.
        keep: a folder that takes those of cases that fail.
    """

    def __init__(self, seed: int, *, learning: bool = True, keep: Path | None = None) -> None:
        self.seed = seed
        self._learning, self._keep = learning, keep
        self._stack = ExitStack()
        self._servers: dict[str, ForkServer] = {}
        made = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fuzz-"))
        self._folder = Path(made)
        (self._folder / "mpl").mkdir()
        try:
            kinds: tuple[Literal["engine", "learning"], ...] = ("engine", "learning")
            for kind in kinds[: 1 + learning]:
                server = shared_server(kind)
                self._servers[kind] = server
                bases.make(server, self._folder, kind)
            self._flags = lines.Flags(self._servers["engine"], self._folder)
        except BaseException:
            self._stack.close()
            raise

    def names(self, kinds: tuple[str, ...] = KINDS) -> Iterator[Name]:
        """Cases without end, one of each kind after the other."""
        number = 0
        while True:
            for kind in kinds:
                yield Name(self.seed, kind, number)
            number += 1

    def run(self, name: Name) -> Failure | None:
        """Runs a case; what was wrong, if anything was."""
        folder = self._folder / "case"
        folder.mkdir()
        try:
            case = self._make(name, folder)
            ended = self._ended(case, folder)
            found = fault(ended)
            if found and self._keep:
                kept = self._keep / f"{name.seed}-{name.kind}-{name.number}"
                _copy(folder, kept)
                (kept / "stderr").write_text(ended.err)
            return Failure(case, found, ended) if found else None
        finally:
            _remove(folder)

    def close(self) -> None:
        """Ends the servers and removes what was made."""
        self._stack.close()

    def _make(self, name: Name, folder: Path) -> Case:
        if name.kind == "lines":
            return lines.make(name, self._folder, folder, self._learning, self._flags)
        kind = {"files": files.make, "runs": runs.make}[name.kind]
        return kind(name, self._folder, folder, self._learning)

    def _ended(self, case: Case, folder: Path) -> Ended:
        server = self._servers["learning" if case.learning else "engine"]
        return server.run(
            Command(
                case.module,
                case.arguments,
                folder,
                {**environment(self._folder, folder), **case.environment},
                closed_stdout=case.closed_stdout,
                cpu_seconds=CPU_SECONDS,
                wall_seconds=WALL_SECONDS,
                memory=MOST_MEMORY + SOME,
            )
        )


def _copy(folder: Path, to: Path) -> None:
    """What can be copied; reading a FIFO would wait for ever."""
    shutil.rmtree(to, ignore_errors=True)
    for place, _, names in os.walk(folder):
        where = to / Path(place).relative_to(folder)
        where.mkdir(parents=True, exist_ok=True)
        for name in names:
            file = Path(place, name)
            if file.is_file():
                shutil.copy(file, where / name)


def _remove(folder: Path) -> None:
    # A case may have made what Python's own walk trips over, like paths that are too long.
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        os.system(f"rm -rf -- {shlex.quote(str(folder))}")
