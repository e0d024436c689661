"""The methods by name: summary, settings, and the function that implements each.

This module does not import torch: the command lines read this table before they import the methods.
"""

from __future__ import annotations

import importlib
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from condense.config.kernel import KernelInducingPoints
from condense.config.methods import (
    Coreset,
    DistributionMatching,
    Forgetting,
    GradientMatching,
    ImprovedDistributionMatching,
    LearnedImages,
    MethodSettings,
)
from condense.config.presets import preset
from condense.config.unrolled import (
    DatasetDistillation,
    GenerativeTeaching,
    LabelDistillation,
    UnrolledImages,
)
from condense.errors import UserError, unknown
from condense.validation import require_class


@dataclass(frozen=True)
class Method:
    """A method of condensation or selection."""

    summary: str
    source: str
    settings: type[MethodSettings]
    function: str
    """`module:name`; called with (data, settings, seed, checkpointer), returns a CondensedSet.
    One of `CHOOSERS` is called with (data, settings), returns the name and settings of a method."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Fixed settings that distinguish it from methods with the same settings class."""
    metrics: str | None = None
    """`module:name` of its own tests of a set; called with (set, data, settings), returns results
    by name."""

    @property
    def synthetic(self) -> bool:
        """Whether the images are learnt, not real."""
        return issubclass(self.settings, LearnedImages)

    @property
    def whole_images(self) -> bool:
        """Whether it can store whole images only (storage float32, factor 1)."""
        return issubclass(self.settings, UnrolledImages | LabelDistillation)

    @property
    def several_classes(self) -> bool:
        """Whether it needs more than one class."""
        several = GradientMatching | KernelInducingPoints | UnrolledImages | LabelDistillation
        return issubclass(self.settings, several)

    def soft_labels(self, settings: MethodSettings | None = None) -> bool:
        """Whether the labels are learnt probabilities; with `settings`, by default the paper's."""
        return (settings or self.settings()).learns_labels

    def preset(self, name: str, **changes: Any) -> Any:
        """Its settings in preset `name`, with `changes` applied."""
        return preset(self.settings, name, **{**self.changes, **changes})

    def check(self, settings: MethodSettings) -> None:
        """Check that the settings belong to this method.

        Raises:
            UserError: they belong to another method.
        """
        require_class("settings", settings, self.settings)
        for setting, value in self.changes.items():
            found = getattr(settings, setting)
            if found != value:
                raise UserError(
                    f"{setting.replace('_', '-')} must be {value} for {self.summary}, not {found}"
                )

    def implementation(self) -> Callable[..., Any]:
        """Its function; imported by this call."""
        return _imported(self.function)

    def own_metrics(self, condensed: Any, data: Any, settings: MethodSettings) -> dict[str, float]:
        """The results of its own tests of a set; most methods have none."""
        if self.metrics is None:
            return {}
        found: dict[str, float] = _imported(self.metrics)(condensed, data, settings)
        return found


def _imported(path: str) -> Callable[..., Any]:
    """The function `module:name`."""
    module, name = path.split(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


METHODS: dict[str, Method] = {
    "dsa": Method(
        "gradient matching under differentiable Siamese augmentation",
        "Zhao & Bilen 2021, Algorithm 1",
        GradientMatching,
        "condense.methods.gradient_matching:condense_by_gradient_matching",
    ),
    "dc": Method(
        "gradient matching without augmentation",
        "Zhao, Mopuri & Bilen 2021",
        GradientMatching,
        "condense.methods.gradient_matching:condense_by_gradient_matching",
        {"augment_real": "none", "augment_synthetic": "none"},
    ),
    "dm": Method(
        "matching of mean embeddings in random networks",
        "Zhao & Bilen 2023",
        DistributionMatching,
        "condense.methods.distribution_matching:condense_by_distribution_matching",
    ),
    "idm": Method(
        "matching of mean embeddings and a cross-entropy in networks that are trained",
        "Zhao, Li, Qin & Yu 2023",
        ImprovedDistributionMatching,
        "condense.methods.improved_distribution_matching:condense_by_improved_distribution_matching",
    ),
    "kip": Method(
        "images on which kernel ridge regression predicts real ones, with a neural tangent kernel",
        "Nguyen, Chen & Lee 2021, Algorithm 1",
        KernelInducingPoints,
        "condense.methods.kernel_inducing_points:condense_by_kernel_inducing_points",
        metrics="condense.methods.kernel_inducing_points:kernel_metrics",
    ),
    "dd": Method(
        "images and learning rates learnt through the training of a network",
        "Wang et al. 2018, Algorithm 1",
        DatasetDistillation,
        "condense.methods.dataset_distillation:condense_by_dataset_distillation",
    ),
    "gtn": Method(
        "a generator of images and learning rates learnt through the training of a network",
        "Such et al. 2020",
        GenerativeTeaching,
        "condense.methods.generative_teaching:condense_by_generative_teaching",
    ),
    "ld": Method(
        "learnt soft labels for real images",
        "Bohdal et al. 2020, Algorithm 1",
        LabelDistillation,
        "condense.methods.label_distillation:condense_by_label_distillation",
    ),
    "herding": Method(
        "real images whose mean feature is that of their class",
        "Chen, Welling & Smola 2010; Rebuffi et al. 2017",
        Coreset,
        "condense.methods.selection:herding_coreset",
    ),
    "forgetting": Method(
        "real images that a network forgets most often while it learns",
        "Toneva et al. 2019",
        Forgetting,
        "condense.methods.forgetting:forgetting_coreset",
    ),
    "random": Method(
        "real images drawn at random",
        "the baseline",
        Coreset,
        "condense.methods.selection:random_coreset",
    ),
}
"""The methods by name."""

AUTO = "auto"
"""Chooses `idm`, `dm` or `herding`."""

WHOLE = "whole"
"""Keeps all training images."""

CHOOSERS: dict[str, Method] = {
    AUTO: Method(
        "where few images fit into the bytes idm, else herding",
        "measured, docs/choices.md",
        MethodSettings,
        "condense.methods.automatic:few_or_many",
    ),
    WHOLE: Method(
        "all training images, whatever --ipc says",
        "the upper bound",
        Coreset,
        "condense.methods.automatic:whole_split",
        {"storage": "pixels", "short_classes": "keep"},
    ),
}
"""Names that stand for another method: their functions are called with (data, settings), and
return its name and its settings."""

NAMES: Mapping[str, Method] = ChainMap(CHOOSERS, METHODS)
"""All names that `condense` takes, also those that a program added to `METHODS`."""


def method_named(name: str) -> Method:
    """The method with this name, also `auto` and `whole`.

    Raises:
        UserError: there is no such method.
    """
    require_class("method", name, str)
    if name not in NAMES:
        raise unknown("method", name, NAMES)
    return NAMES[name]
