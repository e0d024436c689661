"""What `python -m benchmarks.main_job` has kept of its runs at the cpu preset."""

from __future__ import annotations

from typing import Any

from benchmarks.rows import RESULTS
from condense.files import read_json

Result = dict[str, Any]


def results() -> list[Result]:
    """Every result that has been kept."""
    return [read_json(path) for path in sorted((RESULTS / "main_job" / "cpu").glob("*.json"))]


def learnt(
    kept: list[Result], head: str, memory: str, distill: bool, formation: int = 1
) -> list[Result]:
    """The runs of the main job with these settings, timing runs left out.

    Those from before there were formations are of formation 1.
    """
    return [
        result
        for result in kept
        if result["command"] == "python -m continual.run"
        and result["summary"]["stream"] == "svhn-mnist-usps"
        and result["settings"]["common"]["cache"]
        and (result["summary"]["head"], result["summary"]["memory"]) == (head, memory)
        and result["summary"]["distill"] == distill
        and result["settings"].get("formation", 1) == formation
    ]
