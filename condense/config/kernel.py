"""Settings of the method that learns images through a kernel: KIP.

As in `condense/config/methods.py`, defaults are the published values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from condense.config.methods import OptimisedImages
from condense.errors import UserError
from condense.validation import at_least, at_most

DEEPEST = 64
"""Maximum number of hidden layers of the kernel's network."""


@dataclass(frozen=True)
class KernelInducingPoints(OptimisedImages):
    """Kernel inducing points (KIP): images on which kernel ridge regression has a low loss.

    The values are those of the paper for CIFAR-10 and of the authors' code, `kip/KIP.ipynb` in
    google-research/google-research. For MNIST the paper uses a learning rate of 0.01. Here target
    images are not augmented, and β₂ of Adam is 0.99 as for all images (0.999 in the authors' code).
    """

    iterations: int = 1000
    """Steps of the images. The authors' code advises 1000 or more."""
    optimizer: Literal["sgd", "adam"] = "adam"
    """Of the images and of learnt labels."""
    lr_img: float = 0.04
    batch_real: int = 500
    """Target images per class in a step: real images whose labels are predicted."""
    kernel_depth: int = 1
    """Hidden layers of the fully connected ReLU network whose neural tangent kernel is used."""
    w_std: float = math.sqrt(2)
    """Standard deviation σ_w of the network's initial weights, before they are divided by the
    square root of the number of inputs."""
    b_std: float = 0.01
    """Standard deviation σ_b of its initial biases. The paper has 0.01, the authors' code 0.1."""
    reg: float = 1e-6
    """Regularisation of the ridge regression, as a fraction of the mean of the kernel's diagonal
    over the synthetic images."""
    learn_labels: bool = False
    """Also learn the labels, from the classes. They remain probabilities, as a set stores them; in
    the paper learnt labels are any numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "kernel_depth")
        at_most(DEEPEST, self, "kernel_depth")
        at_least(0, self, "w_std", "b_std", "reg")
        if not self.w_std > 0:
            raise UserError(f"w-std must be above 0, not {self.w_std}")
        if self.learn_labels and self.labels == "soft":
            raise UserError("learn-labels needs labels hard: a teacher would replace learnt labels")
        if self.learn_labels and not self.lossless:
            raise UserError(
                "learn-labels needs storage float32 and factor 1: the bytes of learnt labels are "
                "not counted"
            )
        if self.learn_labels and self.short_classes == "keep":
            raise UserError("learn-labels needs short-classes refuse: equally large classes")

    @property
    def learns_labels(self) -> bool:
        """Whether the labels are learnt probabilities."""
        return self.learn_labels
