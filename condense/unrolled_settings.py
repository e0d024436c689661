"""The settings of the methods that learn through a learner's own training: DD and LD.

As in `condense/settings.py`, whose networks they use, defaults are the published values, which here
are those of the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from condense.errors import UserError, at_least
from condense.settings import LearnedImages, MethodSettings

MOST_STEPS = 100_000
"""Steps of a training that is learnt through."""


@dataclass(frozen=True)
class DatasetDistillation(LearnedImages):
    """Dataset distillation (DD): images, and the learning rates that they are learnt with.

    The values are the defaults of the authors' code (ssnl/dataset-distillation), which are meant
    for MNIST and random initial weights. These are Xavier's there; here they are drawn as for every
    other network.
    """

    init: Literal["real", "herding", "noise"] = "noise"
    """What the synthetic images start from."""
    iterations: int = 23600
    """Steps of the images; 400 epochs of MNIST in batches of 1024."""
    image_lr: float = 0.01
    """Adam's, for the images and the rates alike; halved after each tenth of the iterations."""
    steps: int | None = None
    """Steps of gradient descent in an epoch, each on an equal share of the images of each class.
    By default as many as images per class, so that a step sees one image of each."""
    epochs: int = 3
    """How often these steps are gone through."""
    rate: float = 0.02
    """Where the learnt rates start, one for each step of each epoch. The authors' for MNIST; for
    CIFAR-10 they take 0.001."""
    weights: Literal["random", "fixed"] = "random"
    """Learn for networks with any initial weights, or for those that the seed gives alone. Sets are
    tested with other weights all the same."""
    networks: int = 4
    """Networks with random initial weights in an iteration. 4 by the authors' documentation; the
    default in their code is 1, so which one the paper's figures had is not known."""
    real_batch: int = 1024
    """Real images, of all classes together, that the trained network is judged by."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "steps", "epochs", "networks", "real_batch")
        at_least(0, self, "image_lr")
        at_least(0, self, "rate")
        if not self.rate > 0:
            raise UserError(f"rate must be above 0, not {self.rate}")
        if self.ipc % self.steps_an_epoch():
            raise UserError(f"steps must divide the images per class: {self.ipc} / {self.steps}")
        if self.epochs * self.steps_an_epoch() > MOST_STEPS:
            raise UserError(
                f"epochs × steps must be at most {MOST_STEPS}, all of which memory has to hold at "
                f"once, not {self.epochs * self.steps_an_epoch()}"
            )

    def steps_an_epoch(self) -> int:
        """The steps as set, else one for each image of a class."""
        return self.ipc if self.steps is None else self.steps


@dataclass(frozen=True)
class LabelDistillation(MethodSettings):
    """Label distillation (LD): soft labels for real images that stay as they are.

    The values are those of the authors' code (ondrejbohdal/label-distillation, second order) and of
    its configurations for 10 and 100 images of ten classes.
    """

    iterations: int = 19600
    """Steps of the labels; 400 epochs of 50,000 images in batches of 1024. From 200 images on the
    authors take 800 epochs."""
    label_init: Literal["uniform", "class"] = "uniform"
    """Labels start with all classes alike, or with the image's own class alone."""
    label_lr: float = 0.001
    """Adam's."""
    batch: int = 50
    """Images of the set in a step; all, where there are fewer."""
    real_batch: int = 1024
    """Real images, of all classes together, that the labels are judged by in a step."""
    inner_lr: float = 0.01
    """Of the step of gradient descent that the labels' gradient is taken through."""
    network_lr: float = 0.001
    """Adam's, by which the network goes on learning from the set."""
    patience: int = 50
    """The network is replaced by a fresh one when its error on real images, averaged over so many
    steps, has not fallen for as many. For more than 100 images, of ten classes, the authors take
    200."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "batch", "real_batch", "patience")
        at_least(0, self, "label_lr", "inner_lr", "network_lr")
