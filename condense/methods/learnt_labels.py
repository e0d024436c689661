"""Learnt labels stay probabilities (LD, KIP)."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST = 1e-6
"""Minimum probability before normalisation, so that no row is all zero."""


@torch.no_grad()
def make_probabilities(labels: Tensor) -> None:
    """Make each row of `labels` [..., classes] probabilities, in place, after a step of them."""
    labels.clamp_(min=SMALLEST)
    labels.div_(labels.sum(-1, keepdim=True))
