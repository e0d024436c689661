"""State of networks and optimizers as named tensors, for checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from condense.runs.checkpoint import Checkpoint, alike

STATE: dict[type[Optimizer], dict[str, bool]] = {
    torch.optim.SGD: {"momentum_buffer": True},
    torch.optim.Adam: {"step": False, "exp_avg": True, "exp_avg_sq": True},
}
"""The optimizer state of each parameter, and whether it has the shape of the parameter."""


def state_of(name: str, part: nn.Module | Optimizer) -> dict[str, Tensor]:
    """The complete state of `part`, with names that begin with `name`."""
    if isinstance(part, nn.Module):
        return {f"{name}.{key}": tensor for key, tensor in part.state_dict().items()}
    states: dict[int, dict[str, Tensor]] = part.state_dict()["state"]
    return {
        f"{name}.{index}.{key}": tensor
        for index, state in states.items()
        for key, tensor in state.items()
    }


def restore_state(name: str, part: nn.Module | Optimizer, before: Checkpoint) -> None:
    """Load the state that `state_of` returned for `part`; other tensors are ignored.

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
    """The state of each parameter; KeyError or ValueError if it is incomplete."""
    if not own:  # before the first step
        return {}
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    states = {}
    for index, parameter in enumerate(parameters):
        state = {key: own[f"{index}.{key}"] for key in STATE[type(optimizer)]}
        for key, shaped in STATE[type(optimizer)].items():
            alike(key, state[key], parameter if shaped else parameter.new_empty(()))
        states[index] = state
    return states
