"""Training several networks of the same shape together.

A training step of a small network launches dozens of kernels, each too small for a GPU. With
stacked weights, a step of all networks needs as many launches as a step of one network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from condense.models.layers import Shape
from condense.training.chunking import has_batch_norm, max_items, training_bytes
from condense.training.loop import batches
from condense.training.ranks import world_size
from condense.training.schedule import Schedule


def max_networks(network: nn.Module, shape: Shape, device: torch.device, batch_size: int) -> int:
    """How many networks like this one to train together, with this batch size.

    One on a CPU, where sequential training is faster, and one with batch norm, whose running
    statistics are not parameters; else as many as fit into memory.
    """
    if device.type == "cpu" or has_batch_norm(network):
        return 1
    return max_items(device, batch_size * training_bytes(network, shape))


def divided_networks(count: int, together: int, device: torch.device) -> int:
    """How many of `count` networks to train together, at most `together`.

    On a GPU so few that each process of torchrun has some. On a CPU the number does not depend on
    the processes.
    """
    if device.type == "cpu":
        return together
    return max(1, min(together, -(-count // world_size())))


def train_together(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    draws: Sequence[torch.Generator],
    transform: Callable[[Tensor], Tensor] | None = None,
) -> None:
    """Train each network in place, like `train` for each network with the same random numbers.

    Args:
        networks: of the same shape, without buffers; on the device of the images.
        images: [n, c, h, w], floats, the input of the networks.
        labels: int64 [n], or float [n, classes] for soft labels.
        schedule: steps, batch size and learning rate.
        draws: a generator for each network, for the order of its images.
        transform: applied to the batches of each step, [networks, n, c, h, w]: augmentation.
    """
    skeleton = copy.deepcopy(networks[0]).to("meta").train()
    weights, _ = stack_module_state(list(networks))

    def logits(weights: dict[str, Tensor], batch: Tensor) -> Tensor:
        found: Tensor = functional_call(skeleton, weights, (batch,))
        return found

    logits_of_all = vmap(logits)
    # SGD is elementwise, so stacked weights are updated like those of each network.
    optimizer = schedule.optimizer(weights.values())
    orders = [batches(len(images), schedule.batch_size, own) for own in draws]
    for done, rows in enumerate(zip(*orders, strict=True)):
        if done >= schedule.steps:
            break
        schedule.adjust(optimizer, done)
        chosen = torch.stack(rows).to(images.device)
        batch = images[chosen]
        if transform is not None:
            batch = transform(batch)
        optimizer.zero_grad()
        found = logits_of_all(weights, batch).flatten(0, 1)
        mean = F.cross_entropy(found, labels[chosen].flatten(0, 1))
        (mean * len(networks)).backward()  # the sum of the mean losses of the networks
        optimizer.step()
    with torch.no_grad():
        for number, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][number])
