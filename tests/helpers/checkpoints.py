"""A small checkpoint."""

from __future__ import annotations

import torch

from condense.runs.checkpoint import Checkpoint


def tensor_checkpoint(step: int) -> Checkpoint:
    return Checkpoint({"images": torch.full((2, 3), float(step))}, {"step": step})
