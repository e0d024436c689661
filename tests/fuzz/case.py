"""What a case is, and how it is drawn again."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("files", "runs", "lines")
TRAINING = ("--preset", "smoke", "--dataset", "digits", "--quiet")
"""Flags of commands that are to be over soon."""
SETS = "sets"
RUNS = "bases"
"""Folders of the session, beside those of its cases: image sets, and runs to be mutated."""


@dataclass(frozen=True)
class Name:
    """A case by what it is drawn from."""

    seed: int
    kind: str
    number: int

    def __str__(self) -> str:
        return f"--seed {self.seed} --case {self.kind}:{self.number}"

    def draws(self) -> random.Random:
        """The generator of all that is drawn for it."""
        return random.Random(f"{self.seed}:{self.kind}:{self.number}")


@dataclass(frozen=True)
class Case:
    """A command line in a folder that contains the case's files."""

    name: Name
    module: str
    arguments: Sequence[str]
    about: str = ""
    """What was done to its files."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What differs from `environment`."""
    closed_stdout: bool = False

    @property
    def learning(self) -> bool:
        """Whether it needs the fork server that has imported Avalanche."""
        return self.module == "continual.run"


def environment(session: Path, folder: Path) -> dict[str, str]:
    """Where commands find and keep what is not in their folder; nothing is downloaded.

    Args:
        session: the folder of all cases.
        folder: the case's.
    """
    refused = "http://127.0.0.1:9"
    return {
        **{name: value for name, value in os.environ.items() if not _is_ours(name)},
        **{"HOME": str(folder), "TMPDIR": str(folder), "COLUMNS": "200"},
        **{"CONDENSE_DATA": str(session / SETS), "CONDENSE_CACHE": str(folder / "cache")},
        **{"http_proxy": refused, "https_proxy": refused, "MPLCONFIGDIR": str(session / "mpl")},
    }


def _is_ours(name: str) -> bool:
    return name.lower() == "no_proxy" or name.startswith(("CONDENSE_", "PYTHONIO", "XDG_"))
