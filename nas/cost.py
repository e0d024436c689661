"""How long an architecture trains, estimated without training it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from condense import ImageData, build
from nas.space import Space

PER_ACTIVATION, PER_NETWORK = 30.0, 140_000.0
"""In multiplications per image: fitted to 337 of the ConvNets, in batches of 50 images of 16×16
pixels, on one core. Norms, activations and poolings read and write each number several times."""


def cost(space: Space, index: int, data: ImageData) -> float:
    """The estimated time of a training step, in multiplications per image.

    It is the number of multiplications of the layers with weights, which is parameters × positions
    where they are applied, plus a constant for each activation. The network is built without memory
    (meta device) where it can be; else it has the cost of a network without layers.
    """
    counted = PER_NETWORK

    def count(layer: nn.Module, _: object, output: object) -> None:
        nonlocal counted
        if isinstance(output, Tensor):
            weights = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
            positions = output.shape[2:].numel() if output.ndim > 2 else 1
            counted += PER_ACTIVATION * output.numel()
            counted += sum(weight.numel() for weight in weights) * positions

    try:
        network = _without_memory(space, index, data).eval()
        for layer in network.modules():
            if not any(True for _ in layer.children()):
                layer.register_forward_hook(count)
        with torch.no_grad():
            network(torch.zeros(1, *data.shape, device="meta"))
    except (
        Exception,
        SystemExit,
    ):  # a user-defined network may do anything: it fails when it is trained
        return PER_NETWORK
    return counted


def _without_memory(space: Space, index: int, data: ImageData) -> nn.Module:
    value = space.architectures[index]
    if space.build is None:
        return build(value, data.shape, data.classes, device="meta")
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        return space.build(value, data.shape, data.classes)
