"""The results of `python -m benchmarks.continual.main_job` at the cpu preset."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks.continual.main_job import CONDENSING, REPLAYS
from benchmarks.rows import RESULTS
from condense import GradientMatching
from condense.config.network import LEAST_DEPTH
from condense.config.presets import preset
from condense.runs.io import read_json
from continual.settings import EEIL_REPLAY, SELECTION_METHODS, ReplayConfig, condensing_preset

NAMES = {"random": "random", "herding": "herding", "dc": "DC", "dsa": "**DSA**"}
"""Names of the memories in the documents."""

Result = dict[str, Any]


def results() -> list[Result]:
    """All saved results."""
    return [read_json(path) for path in sorted((RESULTS / "main_job" / "cpu").glob("*.json"))]


def stream_runs(
    kept: list[Result],
    head: str,
    memory: str,
    distill: bool,
    part: str = "factor-1",
) -> list[Result]:
    """The runs of a part of the main job, found by their settings; without timing runs.

    A setting that an old run does not have counts as its default.
    """
    return [
        result
        for result in kept
        if result["command"] == "python -m continual.run"
        and result["summary"]["stream"] == "svhn-mnist-usps"
        and result["settings"]["common"]["cache"]
        and (result["summary"]["head"], result["summary"]["memory"]) == (head, memory)
        and result["summary"]["distill"] == distill
        and replay_config(result["settings"]) == REPLAYS[part][0]
        and changes(result["settings"].get("condensing") or {}) == expected(memory, part)
    ]


def expected(memory: str, part: str) -> dict[str, Any]:
    """The settings that a part changes in the cpu preset; by default as `condensing_preset`."""
    if memory in SELECTION_METHODS:
        return {}
    if part in CONDENSING:
        return changes(CONDENSING[part])
    replay = REPLAYS[part][0]
    made = condensing_preset(memory, "cpu", replay.factor, storage=replay.storage)
    return changes(asdict(made))


def changes(condensing: dict[str, Any]) -> dict[str, Any]:
    """The settings that differ from the cpu preset, among those that any part changes."""
    whole = preset(GradientMatching, "cpu", storage="float32")
    usual, found = _flat(asdict(whole)), _flat(condensing)
    names = {name for changed in CONDENSING.values() for name in changed if name in found}
    return {name: found[name] for name in names if found[name] != usual[name]}


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, with those of the network named as on the command line (`network.depth`)."""
    network = {f"network.{name}": value for name, value in settings.get("network", {}).items()}
    if network:
        network["network.depth"] = network["network.depth"] or LEAST_DEPTH  # of 32 pixels
    return {**settings, **network}


def replay_config(settings: dict[str, Any]) -> ReplayConfig:
    """The replay settings of a run."""
    eeil = settings.get("eeil", {})
    return ReplayConfig(
        settings.get("storage", EEIL_REPLAY.storage),
        settings.get("factor", EEIL_REPLAY.factor),
        settings.get("store_logits", EEIL_REPLAY.store_logits),
        eeil.get("batch_size_mem", EEIL_REPLAY.batch_size_mem),
        eeil.get("er_ace", EEIL_REPLAY.er_ace),
    )
