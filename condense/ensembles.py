"""Several networks of one shape trained as one.

A training step of a small network is dozens of launches, each too small for an accelerator. With
the weights of all networks stacked, a step of all takes as many launches as a step of one.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from condense.augment import augment_each
from condense.footprint import at_once, has_batch_norm, training_bytes
from condense.networks import Shape
from condense.training import Schedule, batches


def networks_at_once(network: nn.Module, shape: Shape, device: torch.device, batch: int) -> int:
    """How many networks like this one to train together on batches of so many images.

    One on a CPU, where one after the other is faster, and one with batch norm, whose running
    statistics are no weights; elsewhere as many as memory holds.
    """
    if device.type == "cpu" or has_batch_norm(network):
        return 1
    return at_once(device, batch * training_bytes(network, shape))


def train_together(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    draws: Sequence[torch.Generator],
    *,
    strategy: tuple[str, ...] = (),
    shared: bool = False,
) -> None:
    """Train each network in place as `train` would alone, with the same draws.

    Args:
        networks: of one shape, without buffers; on the device of the images.
        images: [n, c, h, w], floats as the networks take them.
        labels: int64 [n], or float [n, classes] for soft labels.
        schedule: updates, batch size and learning rate.
        draws: a generator for each network, for its order and augmentation.
        strategy: the operations one of which is drawn for each batch; none where empty.
        shared: all images of a batch share the draw's numbers.
    """
    skeleton = copy.deepcopy(networks[0]).to("meta").train()
    weights, _ = stack_module_state(list(networks))

    def logits(weights: dict[str, Tensor], batch: Tensor) -> Tensor:
        found: Tensor = functional_call(skeleton, weights, (batch,))
        return found

    logits_of_all = vmap(logits)
    # Its updates are elementwise, so stacked weights move as each network's own would.
    optimizer = schedule.optimizer(weights.values())
    orders = [batches(len(images), schedule.batch, own) for own in draws]
    for update, rows in enumerate(zip(*orders, strict=True)):
        if update >= schedule.updates:
            break
        schedule.adjust(optimizer, update)
        chosen = torch.stack(rows).to(images.device)
        batch = images[chosen]
        if strategy:
            batch = augment_each(batch, strategy, draws, shared=shared)
        optimizer.zero_grad()
        found = logits_of_all(weights, batch).flatten(0, 1)
        mean = F.cross_entropy(found, labels[chosen].flatten(0, 1))
        (mean * len(networks)).backward()  # the sum of the networks' own means
        optimizer.step()
    with torch.no_grad():
        for number, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.copy_(weights[name][number])
