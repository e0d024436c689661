"""How long an architecture trains, estimated without training it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from condense import ImageData
from condense.training.loop import evaluation_mode
from nas.objective import global_draws, network_to_count
from nas.space import Space

PER_ACTIVATION, PER_NETWORK = 30.0, 140_000.0
"""In multiplications per image: fitted to 337 of the ConvNets, in batches of 50 images of 16×16
pixels, on one core. Norms, activations and poolings read and write each number several times."""


def cost(space: Space, index: int, data: ImageData) -> float:
    """The estimated time of a training step, in multiplications per image.

    It is the number of multiplications of the layers with weights, which is parameters × positions
    where they are applied, plus a constant for each activation. They are counted in a forward pass
    of one image; if it fails, the cost is that of a network without layers.
    """
    counted = PER_NETWORK

    def count(layer: nn.Module, _: object, output: object) -> None:
        nonlocal counted
        if isinstance(output, Tensor):
            weights = [weight for weight in layer.parameters(recurse=False) if weight.ndim > 1]
            positions = output.shape[2:].numel() if output.ndim > 2 else 1
            counted += PER_ACTIVATION * output.numel()
            counted += sum(weight.numel() for weight in weights) * positions

    # A network of the user is built and used where it will be trained: what its code computes once
    # and keeps (a mask in a cache) is then what the training needs, and not on the meta device.
    device = torch.device("meta") if space.build is None else data.device
    try:
        network = network_to_count(space, index, data).to(device)
        with (
            _each_layer(network, count),
            evaluation_mode(network),
            global_draws(0, data.device),
            torch.no_grad(),
        ):
            network(torch.zeros(1, *data.shape, device=device))
    except (
        Exception,
        SystemExit,
    ):  # a user-defined network may do anything: it fails when it is trained
        return PER_NETWORK
    return counted


@contextmanager
def _each_layer(
    network: nn.Module, look: Callable[[nn.Module, object, object], None]
) -> Iterator[None]:
    """`look` gets each layer with its input and its output."""
    with ExitStack() as hooks:
        for layer in network.modules():
            if not any(True for _ in layer.children()):
                hooks.enter_context(layer.register_forward_hook(look))
        yield
