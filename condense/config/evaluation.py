"""Settings of the evaluation of a condensed set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from condense.config.methods import Operation
from condense.config.network import Network
from condense.errors import UserError
from condense.validation import at_least, check_values

Compare = Literal["none", "random", "herding", "both"]
"""What a set is compared with: random or herded images in its bytes, or both."""


@dataclass(frozen=True)
class Evaluation:
    """New networks trained on a condensed set and tested on the real test split (§4.1).

    If the set has learnt learning rates (DD), networks are trained with these, and only `num_eval`
    and `network` have an effect.
    """

    num_eval: int = 20
    """Number of newly initialised networks; 0: no evaluation."""
    epoch_eval_train: int | None = None
    """Epochs. None: as in the authors' code, 1000 with augmentation and 300 without."""
    steps: int | None = None
    """Training steps, instead of epochs: for sets of many images."""
    lr: float = 0.01
    lr_schedule: Literal["step", "cosine"] = "step"
    """step: the learning rate is divided by ten after half of the steps, as in the authors' code.
    cosine: it falls to zero along half a cosine."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch_size: int = 256
    dsa_strategy: tuple[Operation, ...] = ()
    """Operations to sample from, whatever those of condensing were. Default: all six, without flip
    if a mirrored image has another meaning, as for digits."""
    augment: Literal["none", "siamese", "independent", "dc"] = "independent"
    """Augmentation of the training images. independent: one operation for a batch, other random
    numbers for each image. siamese: the same parameters for a whole batch. dc:
    each image is cropped, scaled or rotated as by the authors of DC, who tested so on MNIST."""
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        check_values(self)
        at_least(0, self, "num_eval", "lr", "momentum", "weight_decay")
        at_least(1, self, "epoch_eval_train", "steps", "batch_size")
        if self.epoch_eval_train is not None and self.steps is not None:
            raise UserError("give the evaluation either epoch-eval-train or steps, not both")

    def num_epochs(self, augmented: bool) -> int:
        """Epochs of the training, without `steps`.

        Args:
            augmented: whether the training images are augmented.
        """
        return self.epoch_eval_train or (1000 if augmented else 300)
