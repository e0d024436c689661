"""The results of `python -m benchmarks.continual.main_job` at the cpu preset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.continual.main_job import REPLAYS, stream_name
from benchmarks.rows import RESULTS
from condense.runs.io import read_json
from continual.settings import SELECTION_METHODS

NAMES = {"random": "random", "herding": "herding", "dc": "DC", "dsa": "**DSA**"}
"""Names of the memories in the documents."""

Result = dict[str, Any]


def results() -> dict[str, Result]:
    """All saved results by name."""
    folder = RESULTS / "main_job" / "cpu"
    return {path.stem: read_json(path) for path in sorted(folder.glob("*.json"))}


def stream_runs(
    kept: Mapping[str, Result],
    head: str,
    memory: str,
    distill: bool,
    part: str = "factor-1",
) -> list[Result]:
    """The runs of a part of the main job.

    Selected images do not depend on how others are condensed, so all parts with the same replay
    have the same runs of them.
    """
    if memory in SELECTION_METHODS:
        replay, _ = REPLAYS[part]
        same = (n for n, (other, names) in REPLAYS.items() if other == replay and memory in names)
        part = next(same, part)
    name = stream_name(head, memory, distill, part)
    return [result for key, result in kept.items() if key.startswith(f"{name}-s")]
