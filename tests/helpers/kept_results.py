"""Results of the main job as `benchmarks.continual.main_job` keeps them."""

from __future__ import annotations

from typing import Any


def stream_results(runs: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """Results on the stream, from the accuracies of each run by name."""
    return {
        name: {"command": "python -m continual.run", "summary": {"average_accuracy": accuracies}}
        for name, accuracies in runs.items()
    }
