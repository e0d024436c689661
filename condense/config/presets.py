"""The presets: their differences from the published values.

Like the settings, this module does not import torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from condense.config.evaluation import Evaluation
from condense.config.kernel import KernelInducingPoints
from condense.config.methods import (
    Coreset,
    DistributionMatching,
    Forgetting,
    GradientMatching,
    ImprovedDistributionMatching,
    MethodSettings,
)
from condense.config.network import Network
from condense.config.unrolled import DatasetDistillation, GenerativeTeaching, LabelDistillation
from condense.errors import UserError, unknown

_CPU_NETWORK = Network(width=32)
_SMOKE_NETWORK = Network(width=8)
_LEARNT_IMAGES = {
    "iterations": 400,
    "batch_real": 64,
    "init": "herding",
    "herding_steps": 200,
    "network": _CPU_NETWORK,
}
_LEARNT_COEFFICIENTS = {
    "storage": "dct",
    "iterations": 150,
    "batch_syn": 128,
    "batch_real": 128,
    "optimizer": "adam",
    "lr_img": 0.05,
    "lr_img_schedule": "cosine",
}

PRESETS: dict[str, dict[type, dict[str, Any]]] = {
    "paper": {},
    "cpu": {
        GradientMatching: {
            "iterations": 20,
            "outer_loop": 10,
            "inner_loop": 4,
            "lr_net": 0.2,
            "lr_img": 3.0,
            "lr_img_schedule": "cosine",
            "batch_real": 64,
            "init": "herding",
            "herding_steps": 200,
            "network": _CPU_NETWORK,
        },
        DistributionMatching: _LEARNT_IMAGES,
        ImprovedDistributionMatching: {
            **_LEARNT_IMAGES,
            "net_num": 3,
            "net_steps": 1000,
            "lr_net": 0.05,
            "batch_train": 128,
        },
        KernelInducingPoints: {
            "iterations": 400,
            "lr_img_schedule": "cosine",
            "batch_real": 100,
            "batch_syn": 50,
            "network": _CPU_NETWORK,
        },
        Forgetting: {"epochs": 3, "network": _CPU_NETWORK},
        DatasetDistillation: {
            "iterations": 30,
            "distill_epochs": 10,
            "distill_lr": 0.1,
            "networks": 1,
            "batch_real": 256,
            "init": "herding",
            "herding_steps": 200,
            "network": _CPU_NETWORK,
        },
        GenerativeTeaching: {
            "iterations": 100,
            "distill_lr": 0.05,
            "generator_width": 32,
            "network": _CPU_NETWORK,
        },
        LabelDistillation: {
            "iterations": 150,
            "label_init": "class",
            "label_lr": 0.003,
            "lr_net": 0.003,
            "batch_real": 256,
            "network": _CPU_NETWORK,
        },
        Coreset: {"steps": 200, "network": _CPU_NETWORK},
        MethodSettings: {"network": _CPU_NETWORK},
        Evaluation: {
            "num_eval": 3,
            "steps": 1000,
            "lr": 0.05,
            "lr_schedule": "cosine",
            "batch_size": 100,
            "network": _CPU_NETWORK,
        },
    },
    "smoke": {
        GradientMatching: {
            "iterations": 2,
            "outer_loop": 2,
            "inner_loop": 1,
            "batch_real": 16,
            "network": _SMOKE_NETWORK,
        },
        DistributionMatching: {"iterations": 5, "batch_real": 16, "network": _SMOKE_NETWORK},
        ImprovedDistributionMatching: {
            "iterations": 5,
            "net_num": 2,
            "net_steps": 4,
            "batch_train": 16,
            "batch_real": 16,
            "network": _SMOKE_NETWORK,
        },
        KernelInducingPoints: {"iterations": 5, "batch_real": 16, "network": _SMOKE_NETWORK},
        Forgetting: {"epochs": 2, "network": _SMOKE_NETWORK},
        DatasetDistillation: {
            "iterations": 3,
            "networks": 1,
            "batch_real": 64,
            "network": _SMOKE_NETWORK,
        },
        GenerativeTeaching: {
            "iterations": 3,
            "batch_real": 64,
            "generator_width": 8,
            "network": _SMOKE_NETWORK,
        },
        LabelDistillation: {"iterations": 5, "batch_real": 64, "network": _SMOKE_NETWORK},
        Coreset: {"steps": 10, "network": _SMOKE_NETWORK},
        MethodSettings: {"network": _SMOKE_NETWORK},
        Evaluation: {"num_eval": 2, "steps": 20, "network": _SMOKE_NETWORK},
    },
}

THROUGH_DCT: dict[type, dict[str, Any]] = {
    MethodSettings: {"storage": "dct"},
    Coreset: {"storage": "dct"},
    Forgetting: {"storage": "dct"},
    GradientMatching: {
        "storage": "dct",
        "iterations": 60,
        "outer_loop": 1,
        "batch_syn": 32,
        "batch_real": 128,
        "optimizer": "adam",
        "lr_img": 0.02,
    },
    DistributionMatching: _LEARNT_COEFFICIENTS,
    ImprovedDistributionMatching: {**_LEARNT_COEFFICIENTS, "lr_img": 0.1},
}
"""Changes of the cpu preset, unless another storage is given. Many images per class need few and
small steps."""

WITHOUT_NORMS: dict[type, dict[str, dict[str, float]]] = {
    GradientMatching: {
        "mlp": {"lr_net": 0.01, "lr_img": 0.03},
        "fc1": {"lr_net": 0.01, "lr_img": 0.03},
        "lenet": {"lr_net": 0.01, "lr_img": 0.3},
        "alexnet": {"lr_net": 0.01, "lr_img": 0.3},
    },
    ImprovedDistributionMatching: {
        "mlp": {"lr_net": 0.01},
        "fc1": {"lr_net": 0.01},
    },
    Evaluation: {
        "mlp": {"lr": 0.01},
        "fc1": {"lr": 0.1},
        "lenet": {"lr": 0.01},
        "alexnet": {"lr": 0.01},
    },
}
"""Learning rates in the cpu preset for architectures without normalisation, which diverge or learn
less at those of the ConvNet. A network with norm "none" has the values of the LeNet."""

SettingsT = TypeVar("SettingsT")


def preset(settings: type[SettingsT], name: str, **changes: Any) -> SettingsT:
    """The settings of preset `name`, with `changes` applied.

    A class that a program derives from one of these has the preset of that one.

    Raises:
        UserError: the preset or a setting does not exist.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    fields = {item.name for item in dataclasses.fields(settings)}  # type: ignore[arg-type]
    for change in changes:
        if change not in fields:
            raise unknown("setting", change, fields)
    kind = next((each for each in settings.__mro__ if each in PRESETS[name]), settings)
    chosen = {**PRESETS[name].get(kind, {}), **changes}
    if changes.get("epoch_eval_train") is not None and "steps" not in changes:
        chosen.pop("steps", None)  # the epochs asked for, instead of the steps of the preset
    network = chosen.get("network")  # of another type where a user gives a module or a name
    if name == "cpu" and kind in WITHOUT_NORMS and isinstance(network, Network):
        lrs = _lrs_without_norms(WITHOUT_NORMS[kind], network)
        chosen = {**chosen, **lrs, **changes}
    if name == "cpu" and changes.get("storage", "dct") == "dct":
        chosen = {**chosen, **THROUGH_DCT.get(kind, {}), **changes}
    return settings(**chosen)


def given_or_preset(
    settings: SettingsT | None, of_preset: Callable[..., SettingsT], changes: Mapping[str, Any]
) -> SettingsT:
    """`settings`, or without them those of a preset with `changes`; for calls from Python.

    Raises:
        UserError: both settings and changes are given.
    """
    if settings is None:
        return of_preset(**changes)
    if changes:
        raise UserError("give `settings` or single settings by name, not both")
    return settings


def _lrs_without_norms(lrs: dict[str, dict[str, float]], network: Network) -> dict[str, float]:
    bare = "lenet" if network.norm == "none" else ""
    return lrs.get(network.architecture) or lrs.get(bare) or {}


def preset_for(device: str, name: str = "auto") -> str:
    """The preset for a device type: "auto" is cpu on a CPU, else paper."""
    if name != "auto":
        return name
    return "cpu" if device == "cpu" else "paper"
