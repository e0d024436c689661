"""What `python -m benchmarks.main_job` has kept of its runs at the cpu preset."""

from __future__ import annotations

from typing import Any

from benchmarks.rows import RESULTS
from condense.files import read_json
from continual.settings import PLAIN, Rehearsal

Result = dict[str, Any]


def results() -> list[Result]:
    """Every result that has been kept."""
    return [read_json(path) for path in sorted((RESULTS / "main_job" / "cpu").glob("*.json"))]


def learnt(
    kept: list[Result], head: str, memory: str, distill: bool, how: Rehearsal = PLAIN
) -> list[Result]:
    """The runs of the main job with these settings, timing runs left out.

    What a run from before there was a setting says nothing of is as it is plainly.
    """
    return [
        result
        for result in kept
        if result["command"] == "python -m continual.run"
        and result["summary"]["stream"] == "svhn-mnist-usps"
        and result["settings"]["common"]["cache"]
        and (result["summary"]["head"], result["summary"]["memory"]) == (head, memory)
        and result["summary"]["distill"] == distill
        and rehearsed(result["settings"], how)
    ]


def rehearsed(settings: dict[str, Any], how: Rehearsal) -> bool:
    """Whether the memory of a run with these settings was kept and rehearsed so.

    Whether the loss was asymmetric does not count: it changes nothing where classes do not grow.
    """
    found = Rehearsal(
        settings.get("formation", PLAIN.formation),
        settings.get("answers", PLAIN.answers),
        settings.get("learner", {}).get("memory_share", PLAIN.memory_share),
        how.asymmetric,
    )
    return found == how
