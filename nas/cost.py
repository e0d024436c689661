"""How long an architecture trains, estimated without training it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from condense import ImageData, UserError
from condense.training.loop import evaluation_mode
from nas.objective import device_failure, global_draws, network_to_count
from nas.space import Space

PER_ACTIVATION, PER_NETWORK = 30.0, 140_000.0
"""In multiplications per image: fitted to 337 of the ConvNets, in batches of 50 images of 16×16
pixels, on one core. Norms, activations and poolings read and write each number several times."""
_QKV = ("query", "key", "value")


def cost(space: Space, index: int, data: ImageData) -> float:
    """The estimated time of a training step, in multiplications per image.

    It is the number of multiplications of the layers with weights, plus a constant for each
    activation. They are counted in a forward pass of one image; if it fails, the cost is that of a
    network without layers.

    Raises:
        UserError: the device failed in this pass.
    """
    counted = PER_NETWORK

    def count(layer: nn.Module, given: Sequence[Any], named: dict[str, Any], output: Any) -> None:
        nonlocal counted
        first = output[0] if isinstance(output, tuple) else output
        if isinstance(first, Tensor):
            counted += PER_ACTIVATION * first.numel()
            if isinstance(layer, nn.MultiheadAttention):
                counted += _in_attention(layer, **dict(zip(_QKV, given, strict=False)), **named)
            else:
                counted += _in_layer(layer, first)

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
    except torch.AcceleratorError as error:
        name = space.names[index]
        raise UserError(f"{name}: {device_failure(error)}: leave it out of the space") from error
    except (
        Exception,
        SystemExit,
    ):  # a user-defined network may do anything: it fails when it is trained
        return PER_NETWORK
    return counted


def _in_layer(layer: nn.Module, output: Tensor) -> int:
    """Multiplications of a layer: its weights × the positions where they are applied."""
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        return 0  # it multiplies nothing
    weights = sum(weight.numel() for weight in layer.parameters(recurse=False) if weight.ndim > 1)
    return weights * (output.numel() // _features(layer, output))


def _features(layer: nn.Module, output: Tensor) -> int:
    """The number of features or channels of a layer's output, at each of its positions."""
    for name in ("out_features", "out_channels"):
        found = getattr(layer, name, None)
        if isinstance(found, int) and found > 0:
            return found
    features = output.shape[1] if output.ndim > 3 else output.shape[-1:].numel()
    return max(1, features)


def _in_attention(
    layer: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, **_: object
) -> int:
    """Multiplications of its four projections, of queries with keys, and with the values."""
    width = layer.embed_dim
    batch = query.shape[0 if layer.batch_first else 1] if query.ndim > 2 else 1
    projections: int = width * (2 * query.numel() + key.numel() + value.numel())
    keys: int = key.numel() // layer.kdim // batch
    return projections + 2 * query.numel() * keys


@contextmanager
def _each_layer(network: nn.Module, look: Callable[..., None]) -> Iterator[None]:
    """`look` gets each layer with its input, as arguments and by name, and its output."""
    with ExitStack() as hooks:
        for layer in network.modules():
            # The projections of an attention are its children, but are not called.
            if isinstance(layer, nn.MultiheadAttention) or not any(True for _ in layer.children()):
                hooks.enter_context(layer.register_forward_hook(look, with_kwargs=True))
        yield
