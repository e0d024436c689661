"""The runs that are killed, each over within seconds of processor time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.helpers.split_images import write_images

SET = "set/condensed.safetensors"
"""What is evaluated."""
_SMOKE = ("--preset", "smoke", "--quiet")
_DIGITS = (*_SMOKE, "--dataset", "digits")


@dataclass(frozen=True)
class Job:
    """A command whose run is killed."""

    module: str
    arguments: tuple[str, ...]
    resume: tuple[str, ...]
    """What stands before `--resume RUN`."""
    server: Literal["engine", "learning"] = "engine"
    workers: bool = False
    """Whether processes of its own do the work, one of which may be killed too."""


JOBS = {
    "condensing": Job(
        "condense",
        (
            *("run", *_DIGITS, "--no-cache", "--ipc", "2", "--iterations", "30"),
            *("--evaluation.num-eval", "4", "--evaluation.epoch-eval-train", "10"),
            *("--compare", "none"),
        ),
        ("run",),
    ),
    "evaluating": Job(
        "condense", ("evaluate", SET, *_DIGITS, "--num-eval", "8"), ("evaluate", SET)
    ),
    "learning": Job(
        "continual.run",
        (
            *(*_SMOKE, "--no-cache", "--stream", "svhn-mnist-usps", "--images-per-class", "2"),
            *("--seeds", "2"),
        ),
        (),
        server="learning",
    ),
    "searching": Job(
        "nas.search",
        (*_DIGITS, "--no-cache", "--proxy", "dsa", "--n-trials", "6", "--workers", "2"),
        (),
        workers=True,
    ),
}


def make_sets(folder: Path) -> None:
    """Stand-ins for the sets of a stream, which is then learnt in seconds."""
    for name, shape in {"svhn": (32, 32, 3), "mnist": (28, 28), "usps": (16, 16)}.items():
        write_images(folder, name, shape)
