"""Cases of command lines: flags, values, paths and environments that nobody would think of."""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.forkserver.client import Command, ForkServer

from . import odd
from .bases import OTHER, RUN, SEARCH, STREAM, TESTS
from .case import RUNS, TRAINING, Case, Name, environment

SET = "set.safetensors"
SIZES = ("width", "depth", "ipc", "images-per-class", "memory-size", "image-size")
"""Flags whose middling values are valid and take long: they are given small or absurd ones."""
WORKERS = ("workers",)
"""A worker is a process that imports everything anew."""
HEAVY = frozenset({"architecture", "preset"})
"""Flags whose other values are valid and take long."""


@dataclass(frozen=True)
class Line:
    """A command with the flags that make it quick."""

    module: str
    arguments: tuple[str, ...]
    help_of: tuple[str, ...]
    """What to ask for the flags that it has."""


def _condense(method: str, *flags: str) -> Line:
    return Line(
        "condense",
        (
            "run",
            *TRAINING,
            "--ipc",
            "1",
            "--evaluation.num-eval",
            "1",
            *TESTS,
            "--method",
            method,
            *flags,
        ),
        ("run", "--method", method),
    )


_EVALUATE = (
    "evaluate",
    SET,
    "--num-eval",
    "1",
    "--epoch-eval-train",
    "2",
    "--preset",
    "smoke",
    "--quiet",
)
_ONE = (*SEARCH, "--n-trials", "1", "--proxy")
LINES = (
    *(
        _condense("dsa", "--iterations", "1"),
        _condense("dc", "--iterations", "1"),
        _condense("random"),
    ),
    *(
        _condense(method)
        for method in ("dm", "idm", "kip", "dd", "gtn", "ld", "herding", "forgetting")
    ),
    Line("condense", _EVALUATE, ("evaluate", SET)),
    Line("condense", ("show", SET), ("show", SET)),
    Line("condense", ("zoo",), ("zoo",)),
    Line("condense", ("methods",), ("methods",)),
    Line("nas.search", (*_ONE, "random"), ()),
    Line("nas.search", (*_ONE, "early-stopping"), ("--proxy", "early-stopping")),
    Line("nas.search", (*_ONE, "parameters"), ("--proxy", "parameters")),
    Line("nas.compare", (OTHER, OTHER), ()),
    Line("continual.run", (*STREAM, "--memory", "random"), ("--memory", "random")),
    Line("continual.run", (*STREAM, "--memory", "dsa"), ()),
)
_FLAG = re.compile(r"(?<!\S)(--[\w.-]+)(?:, --no-[\w.-]+)?((?: (?:\{\S+|[A-Z|{}\[\]]+))*)", re.M)
FOLDERS = ("--out", "--data-root", "--resume", "--dataset", "--proxy", "--ground-truth", "--space")


class Flags:
    """What flags commands have, from their help."""

    def __init__(self, server: ForkServer, session: Path) -> None:
        self._server, self._session = server, session

    @cache  # noqa: B019  # one for each session
    def of(self, line: Line) -> tuple[tuple[str, str], ...]:
        """The flags of a command, and what stands for their values there."""
        where = self._session
        asked = [*line.help_of, "--help"]
        ended = self._server.run(Command(line.module, asked, where, environment(where, where)))
        found = {flag: values.strip() for flag, values in _FLAG.findall(ended.out)}
        found.pop("--help", None)
        if ended.code or not (found or line.module == "condense"):
            raise RuntimeError(f"no help of {line.module} {asked}: {ended.err}")
        return tuple(sorted(found.items()))


def make(name: Name, session: Path, folder: Path, learning: bool, flags: Flags) -> Case:
    """A case's files and command line."""
    draws = name.draws()
    odd.make_paths(folder)
    shutil.copy(session / RUNS / "condensed" / RUN / "condensed.safetensors", folder / SET)
    shutil.copytree(session / RUNS / "ground_truth" / RUN, folder / OTHER)
    lines = [line for line in LINES if learning or line.module != "continual.run"]
    line = draws.choice(lines)
    arguments = list(line.arguments)
    known = flags.of(line)
    for _ in range(draws.choice((0, 1, 1, 1, 2, 3)) if known else 0):
        arguments += _flag(*draws.choice(known), draws)
    if draws.random() < 0.15 or not known:
        place = draws.randrange(len(arguments) + 1)
        arguments.insert(place, draws.choice((*odd.WORDS, *odd.PATHS, "--help", "--resume", "--")))
    changed, closed = _environment(draws)
    about = " ".join(f"{key}={value[:40]!r}" for key, value in changed.items())
    return Case(name, line.module, arguments, about + " >&-" * closed, changed, closed)


def _flag(flag: str, values: str, draws: random.Random) -> list[str]:
    """A flag with a value, or several, or none."""
    name = flag.rpartition(".")[2].lstrip("-")
    if not values:
        return [draws.choice((flag, flag, f"{flag}={draws.choice(odd.WORDS)}"))]
    if name in WORKERS:
        return [flag, draws.choice(("0", "-1", "1", "nan", "x", ""))]
    value = str(_value(flag, name, values, draws))
    return draws.choice(([flag, value], [flag, value], [f"{flag}={value}"], [flag]))


def _value(flag: str, name: str, values: str, draws: random.Random) -> Any:
    if flag in FOLDERS or "PATH" in values:
        return draws.choice(odd.PATHS)
    choices = [word for word in re.findall(r"[\w-]+", values) if word.islower()]
    if name in HEAVY:
        return draws.choice(odd.WORDS)
    if choices and draws.random() < 0.6:
        return draws.choice(choices)
    if "INT" in values or "FLOAT" in values:
        numbers = [odd.text(number) for number in odd.NUMBERS]
        if name in SIZES:
            numbers += ["1", "2", "4", "1000000", "9223372036854775808"]
        return draws.choice((*numbers, *numbers, *numbers, "1", "2", *odd.WORDS))
    return draws.choice((*odd.WORDS, *odd.PATHS, *map(odd.text, odd.NUMBERS)))


def _environment(draws: random.Random) -> tuple[dict[str, str], bool]:
    """What differs, and whether stdout is closed."""
    changed = {}
    for name in ("CONDENSE_DATA", "CONDENSE_CACHE"):
        if draws.random() < 0.06:
            changed[name] = draws.choice(odd.PATHS)
    if draws.random() < 0.08:
        changed["PYTHONIOENCODING"] = draws.choice(("ascii", "latin-1"))
    return changed, draws.random() < 0.04
