"""What `python -m benchmarks.main_job` has kept of its runs at the cpu preset."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.main_job import CONDENSING, REHEARSALS
from benchmarks.rows import RESULTS
from condense import GradientMatching
from condense.files import read_json
from condense.presets import preset
from continual.settings import LEARNERS_OWN, PLAIN, Rehearsal, condensing_preset

NAMES = {"random": "random", "herding": "herding", "dc": "DC", "dsa": "**DSA**"}
"""Of the memories, in a document."""

Result = dict[str, Any]


def results() -> list[Result]:
    """Every result that has been kept."""
    return [read_json(path) for path in sorted((RESULTS / "main_job" / "cpu").glob("*.json"))]


def learnt(
    kept: list[Result],
    head: str,
    memory: str,
    distill: bool,
    part: str = "plain",
) -> list[Result]:
    """The runs of a part of the main job, by their settings; no timing runs.

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
        and rehearsal(result["settings"]) == REHEARSALS[part][0]
        and changes(result["settings"].get("condensing") or {}) == expected(memory, part)
    ]


def expected(memory: str, part: str) -> dict[str, Any]:
    """What a part changes of the cpu preset; by default what `condensing_preset` does."""
    if memory in LEARNERS_OWN:
        return {}
    if part in CONDENSING:
        return changes(CONDENSING[part])
    return changes(asdict(condensing_preset(memory, "cpu", REHEARSALS[part][0].formation)))


def changes(condensing: dict[str, Any]) -> dict[str, Any]:
    """What settings of gradient matching change of the cpu preset, of what some part changes."""
    usual, found = _flat(asdict(preset(GradientMatching, "cpu"))), _flat(condensing)
    names = {name for changed in CONDENSING.values() for name in changed if name in found}
    return {name: found[name] for name in names if found[name] != usual[name]}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings with the network's named as on the command line, `network.depth`."""
    network = {f"network.{name}": value for name, value in settings.get("network", {}).items()}
    return {**settings, **network}


def rehearsal(settings: dict[str, Any]) -> Rehearsal:
    """How the memory of a run with these settings was kept and rehearsed."""
    learner = settings.get("learner", {})
    return Rehearsal(
        settings.get("formation", PLAIN.formation),
        settings.get("answers", PLAIN.answers),
        learner.get("memory_share", PLAIN.memory_share),
        learner.get("asymmetric", PLAIN.asymmetric),
    )
