"""Results of the main job as `benchmarks.continual.main_job` keeps them."""

from __future__ import annotations

from typing import Any


def stream_result(
    memory: str, distill: bool, accuracies: list[float], cache: bool = True
) -> dict[str, Any]:
    return {
        "command": "python -m continual.run",
        "settings": {"common": {"cache": cache}},
        "summary": {
            "stream": "svhn-mnist-usps",
            "head": "domain",
            "memory": memory,
            "distill": distill,
            "average_accuracy": accuracies,
        },
    }
