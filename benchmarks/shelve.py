"""Put condensed sets of finished runs into the zoo: `python -m benchmarks.shelve RUN RUN …`.

The best of several runs of one data set, method and number of images per class stays there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from condense.command_line import main, read_flags
from condense.condensed_set import CondensedSet
from condense.errors import UserError
from condense.methods import method_named
from condense.zoo import HERE


@dataclass(frozen=True)
class Shelve:
    """Put condensed sets into the zoo where they are better than what is there."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs of `python -m condense run`."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("give the folder of a run, or of several")


def shelve(run: Path, zoo: Path = HERE) -> bool:
    """Put the set of a run into the zoo; False where a better one is there.

    Raises:
        UserError: the set was not tested, or otherwise than the one that is there, or its images
            are real ones.
    """
    made = CondensedSet.load(run / "condensed.safetensors")
    about = made.provenance
    if not method_named(str(about.get("method"))).synthetic:  # not ours to give away
        raise UserError(f"{run} holds images of the data set itself: they stay where they are")
    if about.get("accuracy") is None:
        raise UserError(f"{run} holds a set that was not tested: nobody knows what it is worth")
    path = zoo / f"{about['dataset']}-{about['method']}-{about['ipc']}.safetensors"
    if path.exists():
        there = CondensedSet.load(path).provenance
        if there["evaluation"] != about["evaluation"]:
            raise UserError(f"{run} was tested otherwise than {path.stem} in the zoo")
        if there["accuracy"] >= about["accuracy"]:
            return False
    made.save(path)
    return True


def run(argv: list[str]) -> None:
    """Put condensed sets into the zoo where they are better than what is there."""
    for folder in read_flags(Shelve, argv, "python -m benchmarks.shelve").runs:
        print(f"{folder}: {'kept' if shelve(folder) else 'there is a better one'}")


if __name__ == "__main__":
    main(run)
