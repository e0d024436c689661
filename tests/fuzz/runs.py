"""Cases of run folders: a finished or interrupted run, one or two of its files mutated."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from . import blind, structured
from .bases import BASES, OTHER, OTHERS, RUN
from .case import RUNS, Case, Name

STRUCTURED: dict[str, Callable[[bytes, random.Random], tuple[bytes, str]]] = {
    ".json": lambda data, draws: _mutated_json(data, draws),
    ".log": structured.mutated_json_lines,
    ".csv": structured.mutated_csv,
    ".safetensors": structured.mutated_tensors,
}
FILES = (
    *("config.json", "summary.json", "history.csv", "architectures.csv", "study.log"),
    "*.safetensors",
)
WORKING = ("checkpoint.safetensors", "evaluation.safetensors", "study.log")
"""What a run goes on from; mutated more often than others."""


def make(name: Name, session: Path, folder: Path, learning: bool) -> Case:
    """A case's files and command line."""
    draws = name.draws()
    bases = [key for key, base in BASES.items() if learning or base.kind == "engine"]
    chosen = draws.choice(bases)
    base = BASES[chosen]
    shutil.copytree(session / RUNS / chosen / RUN, folder / RUN)
    other = session / RUNS / OTHERS[base.module] / RUN
    shutil.copytree(other, folder / OTHER)
    files = sorted({file for glob in FILES for file in (folder / RUN).glob(glob)})
    working = [file for file in files if file.name in WORKING]
    if working and draws.random() < 0.4:
        files = working
    count = min(len(files), draws.choice((1, 1, 1, 2)))
    done = [mutate(file, draws) for file in draws.sample(files, count)]
    module, *arguments = draws.choice(base.then)
    return Case(name, module, arguments, f"{chosen}: {'; '.join(done)}")


def mutate(file: Path, draws: random.Random) -> str:
    """Mutates a file, blindly or as what it is; says how."""
    data = file.read_bytes()
    if data and draws.random() < 0.6:
        data, what = STRUCTURED[file.suffix](data, draws)
    else:
        data, what = blind.mutated(data, draws)
    file.write_bytes(data)
    return f"{file.name}: {what}"


def _mutated_json(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    value, what = structured.mutated_json(json.loads(data), draws)
    return structured.to_json(value, indent=2), what
