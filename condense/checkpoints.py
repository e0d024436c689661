"""Networks and optimizers as named tensors, which is what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import Optimizer


def state_of(name: str, part: nn.Module | Optimizer) -> dict[str, Tensor]:
    """All that `part` remembers, under names that begin with `name`."""
    if isinstance(part, nn.Module):
        return {f"{name}.{key}": tensor for key, tensor in part.state_dict().items()}
    remembered: dict[int, dict[str, Tensor]] = part.state_dict()["state"]
    return {
        f"{name}.{index}.{key}": tensor
        for index, state in remembered.items()
        for key, tensor in state.items()
    }


def restore_state(name: str, part: nn.Module | Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give `part` back what `state_of` took from one like it; other tensors are left alone."""
    own = {
        key.removeprefix(f"{name}."): tensor
        for key, tensor in tensors.items()
        if key.startswith(f"{name}.")
    }
    if isinstance(part, nn.Module):
        part.load_state_dict(own)
        return
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in own.items():
        index, _, what = key.partition(".")
        state.setdefault(int(index), {})[what] = tensor
    part.load_state_dict({**part.state_dict(), "state": state})
