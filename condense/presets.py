"""What the presets change of the settings' published values.

Like the settings, imported before torch is.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from condense.errors import unknown
from condense.settings import (
    Coreset,
    DistributionMatching,
    Evaluation,
    Forgetting,
    GradientMatching,
    Network,
)
from condense.unrolled_settings import DatasetDistillation, LabelDistillation

_CPU_NETWORK = Network(width=32)
_SMOKE_NETWORK = Network(width=8)

PRESETS: dict[str, dict[type, dict[str, Any]]] = {
    "paper": {},
    "cpu": {
        GradientMatching: {
            "outer": 20,
            "inner": 10,
            "network_epochs": 4,
            "network_lr": 0.2,
            "image_lr": 3.0,
            "image_schedule": "cosine",
            "real_batch": 64,
            "init": "herding",
            "herding_updates": 200,
            "network": _CPU_NETWORK,
        },
        DistributionMatching: {
            "iterations": 400,
            "real_batch": 64,
            "init": "herding",
            "herding_updates": 200,
            "network": _CPU_NETWORK,
        },
        Forgetting: {"epochs": 3, "network": _CPU_NETWORK},
        DatasetDistillation: {
            "iterations": 30,
            "epochs": 10,
            "rate": 0.1,
            "networks": 1,
            "real_batch": 256,
            "init": "herding",
            "herding_updates": 200,
            "network": _CPU_NETWORK,
        },
        LabelDistillation: {
            "iterations": 150,
            "label_init": "class",
            "label_lr": 0.003,
            "network_lr": 0.003,
            "real_batch": 256,
            "network": _CPU_NETWORK,
        },
        Coreset: {"updates": 200, "network": _CPU_NETWORK},
        Evaluation: {"networks": 5, "epochs": 300, "network": _CPU_NETWORK},
    },
    "smoke": {
        GradientMatching: {
            "outer": 2,
            "inner": 2,
            "network_epochs": 1,
            "real_batch": 16,
            "network": _SMOKE_NETWORK,
        },
        DistributionMatching: {"iterations": 5, "real_batch": 16, "network": _SMOKE_NETWORK},
        Forgetting: {"epochs": 2, "network": _SMOKE_NETWORK},
        DatasetDistillation: {
            "iterations": 3,
            "networks": 1,
            "real_batch": 64,
            "network": _SMOKE_NETWORK,
        },
        LabelDistillation: {"iterations": 5, "real_batch": 64, "network": _SMOKE_NETWORK},
        Coreset: {"updates": 10, "network": _SMOKE_NETWORK},
        Evaluation: {"networks": 2, "epochs": 20, "network": _SMOKE_NETWORK},
    },
}

WITHOUT_NORMS: dict[str, dict[str, float]] = {
    "mlp": {"network_lr": 0.01, "image_lr": 0.03},
    "lenet": {"network_lr": 0.01, "image_lr": 0.3},
    "alexnet": {"network_lr": 0.01, "image_lr": 0.3},
}
"""Rates of gradient matching at the cpu preset on architectures that have no norms, and diverge at
those of the ConvNet; one whose norms are left out has those of the LeNet."""

SettingsT = TypeVar("SettingsT")


def preset(settings: type[SettingsT], name: str, **changes: Any) -> SettingsT:
    """The settings that preset `name` stands for, with `changes` on top.

    Raises:
        UserError: for a preset or a setting that does not exist.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    fields = {item.name for item in dataclasses.fields(settings)}  # type: ignore[arg-type]
    for change in changes:
        if change not in fields:
            raise unknown("setting", change, fields)
    chosen = {**PRESETS[name].get(settings, {}), **changes}
    if name == "cpu" and settings is GradientMatching:
        chosen = {**chosen, **_rates(chosen["network"]), **changes}
    return settings(**chosen)


def _rates(network: Network) -> dict[str, float]:
    bare = "lenet" if network.norm == "none" else ""
    return WITHOUT_NORMS.get(network.architecture) or WITHOUT_NORMS.get(bare) or {}


def preset_for(device: str, name: str = "auto") -> str:
    """The preset that `name` means on a kind of device: auto is cpu on a CPU, paper elsewhere."""
    if name != "auto":
        return name
    return "cpu" if device == "cpu" else "paper"
