"""Copy condensed sets of finished runs to the zoo: `python -m benchmarks.publish RUN RUN …`.

For each data set, method and number of images per class, the zoo keeps the best set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.condensed_set import CondensedSet
from condense.errors import UserError
from condense.methods.registry import method_named
from condense.runs.run_dir import CONDENSED
from condense.zoo import HERE


@dataclass(frozen=True)
class Publish:
    """Copy condensed sets to the zoo if they are better than the sets there."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of finished runs of `python -m condense run`."""

    def __post_init__(self) -> None:
        if not self.runs:
            raise UserError("give the folders of one or more runs")


def publish(run: Path, zoo: Path = HERE) -> bool:
    """Copy the set of a run to the zoo; False if the zoo has one that is at least as good.

    Raises:
        UserError: the set was not tested, or with other settings than the one in the zoo, or its
            images are real.
    """
    made = CondensedSet.load(run / CONDENSED)
    about = made.provenance
    kept = about.get("settings", {}).get("short_classes") == "keep"
    # Real images must not be redistributed; short classes keep theirs.
    if kept or not method_named(str(about.get("method"))).synthetic:
        raise UserError(f"{run} contains real images, which must not be copied to the zoo")
    if about.get("accuracy") is None:
        raise UserError(f"the set of {run} was not evaluated: it has no accuracy")
    path = zoo / f"{about['dataset']}-{about['method']}-{about['ipc']}.safetensors"
    if path.exists():
        there = CondensedSet.load(path).provenance
        if there["evaluation"] != about["evaluation"]:
            raise UserError(f"{run} was evaluated with other settings than {path.stem} in the zoo")
        if there["accuracy"] >= about["accuracy"]:
            return False
    made.save(path)
    return True


def run(argv: list[str]) -> None:
    """Copy condensed sets to the zoo if they are better than the sets there."""
    for folder in read_flags(Publish, argv, "python -m benchmarks.publish").runs:
        print(f"{folder}: {'copied' if publish(folder) else 'the zoo has a better one'}")


if __name__ == "__main__":
    main(run)
