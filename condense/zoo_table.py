"""The sets of the zoo as a table: `python -m condense zoo`."""

from __future__ import annotations

from pathlib import Path

from condense.config.evaluation import Evaluation
from condense.config.serialization import rebuild
from condense.run_report import per_class
from condense.runs.report import per_cent, text_table
from condense.zoo import load_named, zoo_names

COLUMNS = ("set", "images", "size", "accuracy (how it was measured)", "condensed with")


def zoo_table() -> str:
    """A line for each set of the zoo, below a header."""
    return text_table([COLUMNS, *map(_row, zoo_names())])


def _row(name: str) -> tuple[str, ...]:
    condensed = load_named(name)
    about = condensed.provenance
    accuracy = per_cent(about["accuracy"], about["accuracy_std"])
    test = rebuild(Evaluation(), about["evaluation"], Path(name))
    return (
        name,
        per_class(condensed),
        f"{condensed.bytes / 1000:.0f} kB",
        f"{accuracy} ({_how_tested(test)})",
        str(about["network"]),
    )


def _how_tested(test: Evaluation) -> str:
    kinds = {"none": "no augmentation", "dc": "augmentation of DC's authors"}
    augmented = kinds.get(test.augment, "DSA's augmentation")
    epochs = f"{test.num_epochs(test.augment != 'none')} epochs"
    length = epochs if test.steps is None else f"{test.steps} steps"
    return f"{test.num_eval} networks of width {test.network.width}, {length}, {augmented}"
