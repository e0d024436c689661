"""Runs and image sets that cases are mutations of, made once for each session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.forkserver.client import Command, ForkServer
from tests.helpers.split_images import write_images

from .case import RUNS, SETS, TRAINING, environment

RUN = "run"
"""The name of the folder of a case's run; that of another finished run is `OTHER`."""
OTHER = "other"
SMALL = (*TRAINING, "--ipc", "1", "--iterations", "3", "--evaluation.num-eval", "2")
STORED = ("--storage", "pixels", "--factor", "2", "--labels", "soft", "--teacher-steps", "2")
COEFFICIENTS = ("--storage", "dct", "--image-bytes", "8")
TESTS = ("--evaluation.epoch-eval-train", "2")
SEARCH = (*TRAINING, "--n-trials", "4", "--retraining.networks", "0")
STREAM = (
    *("--preset", "smoke", "--quiet", "--stream", "svhn-mnist-usps", "--images-per-class", "1"),
    *("--epochs-first", "1", "--epochs", "1", "--finetune-epochs", "1"),
)
RESUME = ("--resume", RUN, "--quiet")
SET = f"{RUN}/condensed.safetensors"


@dataclass(frozen=True)
class Base:
    """A run as it is left when it has ended or been interrupted, and what is then done with it."""

    module: str
    arguments: tuple[str, ...]
    then: tuple[tuple[str, ...], ...]
    """Command lines, each with its module."""
    interrupt_after: int = 0
    """Checkpoints; 0 lets it finish."""

    @property
    def kind(self) -> Literal["engine", "learning"]:
        """The fork server that it needs."""
        return "learning" if self.module == "continual.run" else "engine"


def _condensing(*arguments: str, interrupt_after: int) -> Base:
    small = (*TRAINING, "--ipc", "1", "--evaluation.num-eval", "2", *TESTS)
    return Base(
        "condense",
        ("run", *small, *arguments),
        (("condense", "run", *RESUME),),
        interrupt_after,
    )


def _stored(*storage: str) -> Base:
    """A set in another storage, and the commands that read it."""
    return Base(
        "condense",
        ("run", *SMALL, *TESTS, *storage),
        (
            ("condense", "show", SET),
            ("condense", "evaluate", SET, "--preset", "smoke", "--num-eval", "1", "--quiet"),
        ),
    )


_EVALUATED = ("evaluate", f"{OTHER}/condensed.safetensors", *TRAINING, "--num-eval", "3")
_COMPARE = ("nas.compare", RUN, OTHER)
_GROUND_TRUTH = ("nas.search", *SEARCH, "--proxy", "parameters", "--ground-truth")
BASES: dict[str, Base] = {
    "condensed": Base(
        "condense",
        ("run", *SMALL, *TESTS),
        (
            ("condense", "run", *RESUME),
            ("condense", "show", SET),
            ("condense", "evaluate", SET, "--preset", "smoke", "--num-eval", "1", "--quiet"),
            (*("nas.search", *SEARCH, "--proxy"), SET),
        ),
    ),
    "stored": _stored(*STORED),
    "coefficients": _stored(*COEFFICIENTS),
    "condensing": _condensing("--iterations", "3", interrupt_after=2),
    "testing": _condensing("--iterations", "1", interrupt_after=3),
    "matching distributions": _condensing("--method", "dm", interrupt_after=1),
    "distilling images": _condensing("--method", "dd", interrupt_after=1),
    "distilling labels": _condensing("--method", "ld", interrupt_after=1),
    "n_complete": Base("condense", (*_EVALUATED, *TESTS[2:]), (("condense", "evaluate", *RESUME),)),
    "evaluating": Base(
        "condense", _EVALUATED, (("condense", "evaluate", "-", *RESUME),), interrupt_after=1
    ),
    "ground_truth": Base(
        "nas.search",
        (*SEARCH, "--proxy", "whole"),
        (
            _COMPARE,
            (*_GROUND_TRUTH, RUN),
            (*_GROUND_TRUTH, f"{RUN}/architectures.csv"),
            ("nas.search", *RESUME),
        ),
    ),
    "searched": Base(
        "nas.search",
        (*SEARCH, "--proxy", "random"),
        (_COMPARE, ("nas.compare", OTHER, RUN), ("nas.search", *RESUME)),
    ),
    "searching": Base(
        "nas.search", (*SEARCH, "--proxy", "random"), (("nas.search", *RESUME),), interrupt_after=4
    ),
    "pruning": Base(
        "nas.search",
        (*SEARCH, "--proxy", "early-stopping", "--prune"),
        (("nas.search", *RESUME),),
        interrupt_after=2,
    ),
    "learnt": Base("continual.run", STREAM, (("continual.run", *RESUME),)),
    "learning": Base("continual.run", STREAM, (("continual.run", *RESUME),), interrupt_after=6),
    "remembering": Base(
        "continual.run",
        (*STREAM, "--memory", "herding"),
        (("continual.run", *RESUME),),
        interrupt_after=2,
    ),
}
OTHERS = {"condense": "condensed", "nas.search": "ground_truth", "continual.run": "learnt"}
"""Which finished run lies beside a base's."""


def make(server: ForkServer, session: Path, kind: str) -> None:
    """Makes the bases of a fork server's kind in `session`/`RUNS`.

    Raises:
        RuntimeError: a command has not ended as it should.
    """
    for name, shape in {"svhn": (32, 32, 3), "mnist": (28, 28), "usps": (16, 16)}.items():
        write_images(session / SETS, name, shape, per_class=4)
    for name, base in BASES.items():
        if base.kind != kind:
            continue
        folder = session / RUNS / name
        folder.mkdir(parents=True)
        other = session / RUNS / OTHERS[base.module] / RUN
        if other.is_dir():
            (folder / OTHER).symlink_to(other)
        ended = server.run(
            Command(
                base.module,
                [*base.arguments, "--out", RUN],
                folder,
                environment(session, folder),
                interrupt_after=base.interrupt_after,
                every_seconds=0 if base.interrupt_after else None,
                steady_clock=True,
            )
        )
        (folder / OTHER).unlink(missing_ok=True)
        if ended.code != (130 if base.interrupt_after else 0):
            raise RuntimeError(f"the base {name} ended with {ended.code}: {ended.err}")
