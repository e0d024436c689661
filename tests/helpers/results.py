"""What a run leaves that must come out the same, however often it was interrupted."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

_TIMES = re.compile(r'(seconds\w*\\?": *)[-+.\de]+')
_KEPT = ("*.safetensors", "*.png", "*.csv", "*.html", "summary.json")
_WORK = ("checkpoint", "evaluation", "condensing")
"""Checkpoints, which a finished run has none of."""


def results(run: Path, *, ordered: bool = True) -> dict[str, Any]:
    """The contents of a run's files by name, without the seconds that it took.

    Args:
        run: its folder.
        ordered: whether the order of the history's rows is a result; several workers have none.
    """
    files = sorted(file for glob in _KEPT for file in run.glob(glob))
    return {file.name: _content(file, ordered) for file in files}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of files that are not the same, or not in both."""
    return [name for name in sorted({*one, *other}) if one.get(name) != other.get(name)]


def checkpoints(run: Path) -> list[str]:
    """The names of the checkpoints in a run's folder."""
    return sorted(file.name for kind in _WORK for file in run.glob(f"{kind}*.safetensors"))


def rows(run: Path) -> int:
    """How many steps the history knows of; 0 without one."""
    history = run / "history.csv"
    return max(0, history.read_bytes().count(b"\n") - 1) if history.exists() else 0


def _content(file: Path, ordered: bool) -> Any:
    if file.suffix == ".json":
        return _without_seconds(json.loads(file.read_text()))
    if file.suffix == ".csv":
        with file.open(newline="") as text:
            table = [
                {key: cell for key, cell in row.items() if key != "seconds"}
                for row in csv.DictReader(text)
            ]
        if file.name == "history.csv" and not ordered:
            return sorted((row["index"], row["score"]) for row in table)
        return table
    data = file.read_bytes()
    if file.suffix == ".safetensors":  # the header's length depends on the seconds in it
        end = 8 + int.from_bytes(data[:8], "little")
        return _TIMES.sub(r"\g<1>0", data[8:end].decode().rstrip()), data[end:]
    return data


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_seconds(v) for key, v in value.items() if "seconds" not in key}
    return value
