"""Cases of files that users bring: archives, folders of pictures, condensed sets."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

from . import archives, blind, pictures, structured
from .bases import RUN, SEARCH, TESTS
from .case import RUNS, Case, Name

QUICK = ("--preset", "smoke", "--quiet", "--no-cache")
METHODS = (
    ("random",),
    ("herding",),
    ("dsa", "--iterations", "1"),
    ("dm",),
    ("idm",),
    ("kip",),
    ("gtn",),
    ("ld",),
    ("forgetting",),
)
SET = "set.safetensors"


def make(name: Name, session: Path, folder: Path, learning: bool) -> Case:
    """A case's files and command line."""
    draws = name.draws()
    kind = draws.choice((_archive, _pictures, _set))
    sound = session / RUNS / "condensed" / RUN / "condensed.safetensors"
    shutil.copy(sound, folder / SET)
    module, arguments, about = kind(folder, draws)
    return Case(name, module, arguments, about)


def _archive(folder: Path, draws: random.Random) -> tuple[str, list[str], str]:
    data, about = archives.draw(draws)
    (folder / "set.npz").write_bytes(data)
    return *_images("set.npz", draws), f"archive: {about}"


def _pictures(folder: Path, draws: random.Random) -> tuple[str, list[str], str]:
    (folder / "set").mkdir()
    about = pictures.draw(folder / "set", draws)
    return *_images("set", draws), f"pictures: {about}"


def _images(path: str, draws: random.Random) -> tuple[str, list[str]]:
    """A command that is given an image set."""
    if draws.random() < 0.2:
        tests = ["--num-eval", "1", "--epoch-eval-train", "2"]
        return "condense", ["evaluate", SET, "--dataset", path, *QUICK, *tests]
    networks = draws.choice(("0", "1"))
    tests = ["--evaluation.num-eval", networks, *TESTS]
    method = draws.choice(METHODS)
    return "condense", ["run", "--dataset", path, "--ipc", "1", "--method", *method, *tests, *QUICK]


def _set(folder: Path, draws: random.Random) -> tuple[str, list[str], str]:
    """A condensed set, and a command that reads it."""
    file = folder / SET
    change = draws.choice((blind.mutated, structured.mutated_tensors, _length))
    data, about = change(file.read_bytes(), draws)
    file.write_bytes(data)
    evaluate = ["evaluate", SET, "--num-eval", "1", "--epoch-eval-train", "2", *QUICK]
    module, arguments = draws.choice(
        (
            ("condense", ["show", SET]),
            ("condense", evaluate),
            ("condense", [*evaluate, "--dataset", "digits"]),
            ("nas.search", [*SEARCH, "--proxy", SET, "--n-trials", "1"]),
        )
    )
    return module, arguments, f"set: {about}"


def _length(data: bytes, draws: random.Random) -> tuple[bytes, str]:
    length = draws.choice((0, 1, 2**31, 2**63, 2**64 - 1, len(data), 100_000_000))
    return length.to_bytes(8, "little") + data[8:], f"a header of {length} bytes"
