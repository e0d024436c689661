"""Networks and optimizers as named tensors, which is what a checkpoint holds."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from condense.journal import Checkpoint, alike

REMEMBERED: dict[type[Optimizer], dict[str, bool]] = {
    torch.optim.SGD: {"momentum_buffer": True},
    torch.optim.Adam: {"step": False, "exp_avg": True, "exp_avg_sq": True},
}
"""What an optimizer remembers of each parameter, and whether that has the parameter's shape."""


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


def restore_state(name: str, part: nn.Module | Optimizer, before: Checkpoint) -> None:
    """Give `part` back what `state_of` took from one like it; other tensors are left alone.

    Raises:
        UserError: the checkpoint is of another network or optimizer.
    """
    own = {
        key.removeprefix(f"{name}."): tensor
        for key, tensor in before.tensors.items()
        if key.startswith(f"{name}.")
    }
    with before.restoring():
        if isinstance(part, nn.Module):
            for key, like in part.state_dict().items():
                alike(key, own[key], like)
            part.load_state_dict(own)
        else:
            part.load_state_dict({**part.state_dict(), "state": _states(part, own)})


def _states(optimizer: Optimizer, own: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """What is remembered of each parameter; KeyError or ValueError where that is not all."""
    if not own:  # before the first step
        return {}
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    states = {}
    for index, parameter in enumerate(parameters):
        state = {key: own[f"{index}.{key}"] for key in REMEMBERED[type(optimizer)]}
        for key, shaped in REMEMBERED[type(optimizer)].items():
            alike(key, state[key], parameter if shaped else parameter.new_empty(()))
        states[index] = state
    return states
