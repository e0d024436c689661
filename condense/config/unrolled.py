"""Settings of the methods that differentiate through the training of a network: DD, GTN and LD.

As in `condense/config/methods.py`, defaults are the published values; here those of the authors'
code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from condense.config.methods import LearnedImages, MethodSettings
from condense.errors import UserError
from condense.validation import at_least

MOST_STEPS = 100_000
"""Maximum number of training steps to differentiate through."""


@dataclass(frozen=True)
class UnrolledImages(LearnedImages):
    """Images in the order in which a network is to be trained on them, and its learning rates."""

    METHOD: ClassVar[str]
    """Its name, for messages."""

    iterations: int = 23600
    """Steps of Adam."""
    lr_img: float = 0.01
    """Initial learning rate of Adam for all that is learnt."""
    distill_steps: int | None = None
    """Gradient descent steps per epoch, each on an equal share of the images of each class.
    Default: the number of images per class, so that a step uses one image of each class."""
    distill_epochs: int = 3
    """Number of passes over these steps."""
    distill_lr: float = 0.02
    """Initial value of the learnt learning rates, one for each step of each epoch. The authors use
    0.02 for MNIST and 0.001 for CIFAR-10."""
    init_weights: Literal["random", "fixed"] = "random"
    """random: distil for random initial weights. fixed: for one initialisation, given by the seed.
    Sets are evaluated with other weights in both cases."""
    networks: int = 4
    """Randomly initialised networks per iteration. The authors' documentation says 4, the default
    in their code is 1; which value the paper used is not known."""
    batch_real: int = 1024
    """Real images, over all classes, for the loss of the trained network."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "distill_steps", "distill_epochs", "networks", "batch_real")
        at_least(0, self, "lr_img")
        at_least(0, self, "distill_lr")
        if (self.storage, self.factor, self.labels) != ("float32", 1, "hard"):
            raise UserError(
                f"{self.METHOD} learns learning rates with its images: it has no other --storage, "
                "--factor or --labels"
            )
        if self.short_classes == "keep":
            raise UserError(
                f"{self.METHOD} needs as many images of each class: it has no --short-classes keep"
            )
        if not self.distill_lr > 0:
            raise UserError(f"distill-lr must be above 0, not {self.distill_lr}")
        if self.ipc % self.steps_an_epoch():
            raise UserError(
                f"distill-steps must divide the images per class: {self.ipc} / {self.distill_steps}"
            )
        if self.distill_epochs * self.steps_an_epoch() > MOST_STEPS:
            raise UserError(
                f"distill-epochs × distill-steps must be at most {MOST_STEPS}, because all steps "
                "are kept in memory at the same time, not "
                f"{self.distill_epochs * self.steps_an_epoch()}"
            )

    def steps_an_epoch(self) -> int:
        """`distill_steps`, or the number of images per class if it is None."""
        return self.ipc if self.distill_steps is None else self.distill_steps


@dataclass(frozen=True)
class DatasetDistillation(UnrolledImages):
    """Dataset distillation (DD): images and the learning rates to train on them.

    The values are the defaults of the authors' code (ssnl/dataset-distillation), for MNIST and
    random initial weights: 23600 iterations are 400 epochs of MNIST with batch size 1024. The
    learning rate of Adam is halved after each tenth of the iterations. The authors use Xavier
    initialisation; here weights are initialised as for all other networks.
    """

    METHOD = "dd"

    init: Literal["real", "herding", "noise"] = "noise"
    """Initial synthetic images."""


@dataclass(frozen=True)
class GenerativeTeaching(UnrolledImages):
    """Generative teaching network (GTN): a generator of images, and the learning rates.

    The values are those of the authors' experiment with MNIST (uber-research/GTN), in which 32
    steps use 128 images each, and the loss on real images counts after each of them. The learning
    rate of Adam falls to a tenth along half a cosine. The authors also learn the momentum of the
    network's training; a set has learning rates only.
    """

    METHOD = "gtn"

    init: Literal["noise"] = "noise"
    """The inputs of the generator are drawn from a normal distribution."""
    iterations: int = 2000
    """Steps of the generator."""
    lr_img: float = 0.02
    """Initial learning rate of Adam for the generator, its inputs and the learning rates."""
    distill_epochs: int = 1
    networks: int = 1
    batch_real: int = 128
    latent_size: int = 128
    """Numbers in an input of the generator, besides its class. The inputs are learnt: they are the
    curriculum of the network."""
    generator_width: int = 64
    """Filters of the generator's last hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "latent_size", "generator_width")


@dataclass(frozen=True)
class LabelDistillation(MethodSettings):
    """Label distillation (LD): soft labels for unchanged real images.

    The values are those of the authors' code (ondrejbohdal/label-distillation, second order) and
    its configurations for 10 and 100 images of ten classes.
    """

    iterations: int = 19600
    """Steps of the labels; 19600 are 400 epochs of 50,000 images with batch size 1024. From 200
    images on the authors use 800 epochs."""
    label_init: Literal["uniform", "class"] = "uniform"
    """Initial labels. uniform: equal probabilities. class: one-hot, the class of the image."""
    label_lr: float = 0.001
    """Learning rate of Adam for the labels."""
    batch_size: int = 50
    """Images of the set per step; all of them if the set is smaller."""
    batch_real: int = 1024
    """Real images, over all classes, for the loss of a step."""
    inner_lr: float = 0.01
    """Learning rate of the gradient descent step that the labels are differentiated through."""
    lr_net: float = 0.001
    """Learning rate of Adam for the network, which is trained on the set."""
    patience: int = 50
    """The network is reinitialised when its error on real images, averaged over this many steps,
    has not decreased for this many steps. For more than 100 images of ten classes the authors use
    200."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels != "hard":
            raise UserError("ld learns its own soft labels: it has no --labels soft")
        if not self.lossless:
            raise UserError(
                "ld needs storage float32 and factor 1: the bytes of its labels are not counted"
            )
        if self.short_classes == "keep":
            raise UserError("ld needs as many images of each class: it has no --short-classes keep")
        at_least(1, self, "iterations", "batch_size", "batch_real", "patience")
        at_least(0, self, "label_lr", "inner_lr", "lr_net")

    @property
    def learns_labels(self) -> bool:
        """Whether the labels are learnt probabilities."""
        return True
