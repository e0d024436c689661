"""The sets of the zoo as a table: `python -m condense zoo`."""

from __future__ import annotations

from typing import Any

from condense.condensed_set import CondensedSet
from condense.run_report import per_class
from condense.runs.report import per_cent, text_table
from condense.zoo import load_named, zoo_names

COLUMNS = ("set", "images", "size", "accuracy (how it was measured)", "condensed with")


def zoo_table() -> str:
    """A line for each set of the zoo, below a header."""
    return text_table([COLUMNS, *((name, *_row(load_named(name))) for name in zoo_names())])


def _row(condensed: CondensedSet) -> tuple[str, ...]:
    about = condensed.provenance
    accuracy = per_cent(about["accuracy"], about["accuracy_std"])
    return (
        per_class(condensed),
        f"{condensed.bytes / 1000:.0f} kB",
        f"{accuracy} ({_test(about['evaluation'])})",
        str(about["network"]),
    )


def _test(about: dict[str, Any]) -> str:
    """How a set was tested, from the settings in its provenance."""
    width, augment, epochs = about["network"]["width"], about["augment"], about["epoch_eval_train"]
    kinds = {"none": "no augmentation", "dc": "augmentation of DC's authors"}
    steps = about.get("steps")  # sets that were made before this setting have none
    length = f"{steps} steps" if steps else f"{epochs or 1000} epochs"
    augmented = kinds.get(augment, "DSA's augmentation")
    return f"{about['num_eval']} networks of width {width}, {length}, {augmented}"
