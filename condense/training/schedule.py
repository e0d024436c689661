"""Steps, batch size and learning rate of a training."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Schedule:
    """Training length and learning rate."""

    steps: int
    batch_size: int
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    milestones: tuple[float, ...] = ()
    """Fractions of the steps after which the learning rate is divided by ten."""
    cosine: bool = False
    """The learning rate falls to zero along half a cosine."""

    @classmethod
    def of_epochs(cls, epochs: int, images: int, batch_size: int, **rest: object) -> Schedule:
        """The schedule of `epochs` passes over `images` images."""
        return cls(epochs * -(-images // batch_size), batch_size, **rest)  # type: ignore[arg-type]

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.SGD:
        """SGD with the initial learning rate."""
        return torch.optim.SGD(
            parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def adjust(self, optimizer: torch.optim.SGD, step: int) -> None:
        """Set the learning rate of a step; call before every step, from 0 on."""
        if self.cosine:
            share = (1 + math.cos(math.pi * step / self.steps)) / 2
            optimizer.param_groups[0]["lr"] = self.lr * share
        elif step in {max(1, round(milestone * self.steps)) for milestone in self.milestones}:
            optimizer.param_groups[0]["lr"] /= 10
