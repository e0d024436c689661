"""The schema of a finished search's `summary.json`, and a strict reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NewType, TypedDict

from condense import UserError
from condense.runs.io import check_text, read_json
from condense.runs.run_dir import SUMMARY

Count = NewType("Count", int)
Amount = NewType("Amount", float)
Fraction = NewType("Fraction", float)
Signed = NewType("Signed", float)
"""A difference of fractions, or a correlation."""
Line = NewType("Line", str)

MOST = 2**53
"""Integers up to this value are exact as floats; no count comes near it."""
_SLACK = 1e-9
"""Rounding may exceed the bounds of a correlation or fraction by this much."""
_RANGES: dict[Any, tuple[tuple[type, ...], float, float]] = {
    Count: ((int,), 0, MOST),
    Amount: ((int, float), 0, MOST),
    Fraction: ((int, float), -_SLACK, 1 + _SLACK),
    Signed: ((int, float), -1 - _SLACK, 1 + _SLACK),
}


class _Summary(TypedDict):
    """The entries used in tables; others are ignored."""

    spearman_top: Signed | None
    spearman_top_interval: tuple[Signed | None, Signed | None]
    spearman_top_n: Count
    spearman_all: Signed | None
    spearman_all_interval: tuple[Signed | None, Signed | None]
    spearman_all_n: Count
    kendall_all: Signed | None
    kendall_all_interval: tuple[Signed | None, Signed | None]
    kendall_all_n: Count
    dataset: Line
    image_size: Count
    proxy: Line
    n_complete: Count
    pruned: Count
    failed: Count
    top_fraction: Fraction
    best: Line
    best_accuracy: Fraction | None
    regret: Signed | None
    steps: Count
    steps_saved: Fraction
    retrained_steps: Count | None  # of each network
    seconds_search: Amount
    seconds_proxy: Amount
    seconds_wall: Amount
    proxy_from_cache: bool
    images: Count
    workers: Count
    preset: Line
    seed: int
    device: Line


def is_line(text: str) -> bool:
    """Whether a text has no end of a line in it, so that it can be a `Line`."""
    return "".join(text.splitlines()) == text


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a finished run.

    Raises:
        UserError: the file does not exist, or an entry is missing or invalid.
    """
    import cattrs

    path = folder / SUMMARY
    found = read_json(path)
    try:
        return dict(_converter().structure(found, _Summary))
    except Exception as error:  # cattrs raises many classes, in exception groups
        where = cattrs.transform_error(error, path="summary")[0].rpartition("@ ")[2]
        raise UserError(
            f"{path} is damaged: {where} is missing, or not what a search writes"
        ) from error


def _converter() -> Any:
    """A converter that rejects values of a wrong type instead of converting them."""
    import cattrs

    converter = cattrs.Converter()
    for kind in _RANGES:
        converter.register_structure_hook(kind, _number)
    for own in (int, bool):
        converter.register_structure_hook(own, _exactly)
    converter.register_structure_hook(Line, _line)
    return converter


def _number(value: Any, kind: Any) -> Any:
    types, low, high = _RANGES[kind]
    if not (type(value) in types and low <= value <= high):
        raise ValueError("not a number in range")
    return value


def _exactly(value: Any, kind: Any) -> Any:
    if type(value) is not kind:
        raise ValueError(f"not a {kind}")
    return value


def _line(value: Any, _: Any) -> Any:
    if type(value) is not str or not is_line(value):
        raise ValueError("not a line of text")
    check_text("an entry", value)
    return value
