"""Memory of forward and backward passes, and the chunk sizes that follow from it.

For a set of any size, the memory that a thread keeps for the backward pass is bounded by `limit`:
the work is split into chunks that fit. A chunk has at least one image.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from condense.models.layers import Shape
from condense.training.loop import CHUNK_SIZE
from condense.training.ranks import world_size

CPU_BYTES = 1 << 30
"""Maximum memory for a backward pass on a CPU, in each thread."""

ACCELERATOR_BYTES = 5 << 30
"""Maximum memory for a backward pass on a GPU."""

CHUNK_BYTES = 16 << 20
"""Memory of one chunk on a CPU: small enough for the cache of a core, and giving enough chunks to
divide evenly among threads."""

MIN_CHUNK = 16
"""Minimum images per chunk: with fewer, the overhead of an operation exceeds its computation."""


def limit(device: torch.device) -> int:
    """Bytes that may be kept for a backward pass on this device."""
    return CPU_BYTES if device.type == "cpu" else ACCELERATOR_BYTES


def max_items(device: torch.device, item_bytes: int) -> int:
    """How many items of `item_bytes` bytes fit into `limit`; at least one."""
    return max(1, limit(device) // max(item_bytes, 1))


def training_bytes(network: nn.Module, shape: Shape) -> int:
    """Bytes per image that a forward pass keeps until the backward pass."""
    return _kept(network, shape, twice=False)


def matching_bytes(network: nn.Module, shape: Shape) -> int:
    """Bytes per image that a gradient keeps until it is differentiated again."""
    return _kept(network, shape, twice=True)


@torch.no_grad()
def widest_layer(network: nn.Module, shape: Shape) -> int:
    """Bytes per image of the largest output of a layer."""
    sizes: list[int] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.nbytes)

    network = _on_meta(network)
    for layer in network.modules():
        layer.register_forward_hook(note)
    network(torch.empty(2, *shape, device="meta"))
    return max(sizes) // 2


def chunks(count: int, chunk_size: int) -> list[slice]:
    """0 … count − 1 in chunks of `chunk_size`; the last chunk may be smaller."""
    return [slice(first, first + chunk_size) for first in range(0, count, chunk_size)]


def class_chunks(classes: int, chunk_size: int, device: torch.device) -> list[slice]:
    """The classes in chunks of at most `chunk_size`.

    On a GPU with at least one chunk for each process of torchrun. On a CPU the chunks, and with
    them the rounding, do not depend on the processes.
    """
    if device.type != "cpu":
        chunk_size = min(chunk_size, -(-classes // world_size()))
    return chunks(classes, chunk_size)


def has_batch_norm(network: nn.Module) -> bool:
    """Whether the output for an image depends, in training mode, on the rest of the batch."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def max_training_batch(network: nn.Module, shape: Shape, device: torch.device) -> int | None:
    """Maximum images per forward pass in training.

    None means the whole batch: with batch norm a batch cannot be split, even if it is large.
    """
    if has_batch_norm(network):
        return None
    return chunk_size_for(device, training_bytes(network, shape), MIN_CHUNK)


def chunk_size_for(device: torch.device, item_bytes: int, min_chunk: int = 1) -> int:
    """Items of `item_bytes` bytes per chunk; at least `min_chunk`, if they fit into memory."""
    fit = max_items(device, item_bytes)
    if device.type != "cpu":
        return fit
    return min(fit, max(min_chunk, CHUNK_BYTES // max(item_bytes, 1)))


def max_forward_batch(max_batch: int | None) -> int:
    """Maximum images per forward pass without gradients; `max_batch` is that of training."""
    return min(max_batch or CHUNK_SIZE, CHUNK_SIZE)


def _on_meta(network: nn.Module) -> nn.Module:
    """A copy without values, in evaluation mode."""
    return copy.deepcopy(network).to("meta").eval()


def _kept(network: nn.Module, shape: Shape, *, twice: bool) -> int:
    """Saved bytes per image, measured on the meta device, where tensors use no memory.

    A tensor saved by several operations is counted several times, so this is an upper bound.
    """
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    network = _on_meta(network)
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    images = torch.empty(2, *shape, device="meta", requires_grad=True)  # norms need more than one
    labels = torch.zeros(2, dtype=torch.int64, device="meta")
    with saved_tensors_hooks(count, lambda tensor: tensor):
        loss = F.cross_entropy(network(images), labels)
        if twice:
            torch.autograd.grad(loss, weights, create_graph=True)
    return kept // 2
