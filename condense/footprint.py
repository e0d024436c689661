"""How much memory a network's passes take, and so how much may go through it at once.

Whatever a set's size, what is kept for the backward pass is bounded by `limit`: work is done in
pieces that fit. A piece is never less than one image.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from condense.networks import Shape
from condense.training import CHUNK

CPU_BYTES = 4 << 30
"""Of what a backward pass needs, at once, in the memory of the machine."""

ACCELERATOR_BYTES = 5 << 30
"""The same in the memory of a GPU."""

PIECE_BYTES = 16 << 20
"""On a CPU, what a piece of work keeps: little enough for the cache of a core, and so many pieces
that several threads share them evenly."""

LEAST_PIECE = 16
"""Images in a piece, at least: with fewer, an operation costs more than what it computes."""


def limit(device: torch.device) -> int:
    """Bytes that may be kept for a backward pass on this device."""
    return CPU_BYTES if device.type == "cpu" else ACCELERATOR_BYTES


def at_once(device: torch.device, each: int) -> int:
    """How many things that keep `each` bytes fit at once; one at least."""
    return max(1, limit(device) // max(each, 1))


def training_bytes(network: nn.Module, shape: Shape) -> int:
    """Bytes that a forward pass keeps for each image until its backward pass."""
    return _kept(network, shape, twice=False)


def matching_bytes(network: nn.Module, shape: Shape) -> int:
    """Bytes that a gradient keeps for each image until it is differentiated itself."""
    return _kept(network, shape, twice=True)


def groups(count: int, size: int) -> list[slice]:
    """0 … count − 1 in groups of `size`, the last of which may be smaller."""
    return [slice(first, first + size) for first in range(0, count, size)]


def has_batch_norm(network: nn.Module) -> bool:
    """Whether what it says of an image depends, in training, on the others of the batch."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def training_piece(network: nn.Module, shape: Shape, device: torch.device) -> int | None:
    """Images of a batch that go through the network at once in training.

    None means all of them: with batch norm no batch can be cut, whatever memory it takes.
    """
    if has_batch_norm(network):
        return None
    return piece_of(device, training_bytes(network, shape), LEAST_PIECE)


def piece_of(device: torch.device, each: int, least: int = 1) -> int:
    """How many things that keep `each` bytes go into a piece of work; `least`, where they fit."""
    fit = at_once(device, each)
    return fit if device.type != "cpu" else min(fit, max(least, PIECE_BYTES // max(each, 1)))


def forward_piece(piece: int | None) -> int:
    """Images that go through a network at once without gradients, where `piece` do in training."""
    return min(piece or CHUNK, CHUNK)


def _kept(network: nn.Module, shape: Shape, *, twice: bool) -> int:
    """Counted on the meta device, where tensors have a size but no memory.

    A tensor that several operations keep counts for each of them, so this is an upper bound.
    """
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    network = copy.deepcopy(network).to("meta").eval()
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    images = torch.empty(2, *shape, device="meta", requires_grad=True)  # norms take no single one
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    with saved_tensors_hooks(count, lambda tensor: tensor):
        loss = F.cross_entropy(network(images), labels)
        if twice:
            torch.autograd.grad(loss, weights, create_graph=True)
    return kept // 2
