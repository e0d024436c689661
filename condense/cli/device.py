"""The device of a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from condense.cli.common import Common
from condense.errors import UserError, unknown

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> torch.device:
    """The device with this name; "auto" is the first GPU, or the CPU if there is no GPU.

    Raises:
        UserError: the name is invalid, or this machine has no such device.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown("device", name, ("auto", "cpu", "cuda", "cuda:1", "mps")) from error
    count = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }.get(device.type, 0)
    if (device.index or 0) >= count:
        there = f"torch sees {count} of this kind" if count else "torch sees none"
        raise UserError(f"no device {name} here ({there}): use --device auto or --device cpu")
    return device


def set_determinism(common: Common) -> None:
    """With `--deterministic` on a GPU, make this process compute the same bits in every run.

    Call it before anything is computed on the GPU: cuBLAS reads its setting when it starts.
    """
    if not common.deterministic or choose_device(common.device).type != "cuda":
        return
    import torch

    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True)
