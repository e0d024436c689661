"""The methods by name: what each is, its settings, and where its code is.

Nothing here imports torch: the command lines read this table before they import what does the work.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from condense.errors import UserError, unknown
from condense.presets import preset
from condense.settings import (
    Coreset,
    DistributionMatching,
    Forgetting,
    GradientMatching,
    LearnedImages,
    MethodSettings,
)
from condense.unrolled_settings import DatasetDistillation, LabelDistillation


@dataclass(frozen=True)
class Method:
    """One way to make a small set out of a large one."""

    summary: str
    source: str
    settings: type[MethodSettings]
    function: str
    """`module:name`, taking (data, settings, seed, journal) and giving a CondensedSet."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Settings in which it differs from others of its family."""

    @property
    def synthetic(self) -> bool:
        """Whether the images are learnt, and not real ones."""
        return issubclass(self.settings, LearnedImages)

    @property
    def soft_labels(self) -> bool:
        """Whether labels are learnt, probabilities of each class."""
        return issubclass(self.settings, LabelDistillation)

    def preset(self, name: str, **changes: Any) -> Any:
        """Its settings at preset `name`, with `changes` on top."""
        return preset(self.settings, name, **{**self.changes, **changes})

    def check(self, settings: MethodSettings) -> None:
        """Check that these are settings of this method and of no other of its family.

        Raises:
            UserError: they are another method's.
        """
        kind = self.settings.__name__
        if not isinstance(settings, self.settings):
            raise UserError(f"settings must be a {kind}, not a {type(settings).__name__}")
        for setting, value in self.changes.items():
            found = getattr(settings, setting)
            if found != value:
                raise UserError(
                    f"{setting.replace('_', '-')} must be {value} for {self.summary}, not {found}"
                )

    def implementation(self) -> Callable[..., Any]:
        """Its function, imported when it is needed."""
        module, name = self.function.split(":")
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
    "dd": Method(
        "images and learning rates learnt through the training of a network",
        "Wang et al. 2018, Algorithm 1",
        DatasetDistillation,
        "condense.methods.dataset_distillation:condense_by_dataset_distillation",
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
        "condense.methods.coresets:herding_coreset",
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
        "condense.methods.coresets:random_coreset",
    ),
}


def method_named(name: str) -> Method:
    """The method of this name.

    Raises:
        UserError: where there is none.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    return METHODS[name]
