"""Roofline: the time of the arithmetic alone, without any overhead.

For networks, it is the time of their convolutions, at the speed of PyTorch's convolution on these
shapes with the fastest batch size. For augmentation, it is the time to read and write the images
once, at the speed of a copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BATCHES = (8, 32, 128)
"""Batch sizes to try; the fastest counts."""

REPEATS = 3


@dataclass(frozen=True)
class Roofline:
    """Seconds per image of a network's convolutions, and seconds per byte copied."""

    forward: float
    training: float
    """Forward, and backward to the weights."""
    matching: float
    """The same, differentiated again with respect to the image."""
    flops: float
    """Floating-point operations of `training`."""
    byte: float


def measure(network: nn.Module, shape: tuple[int, int, int], images: int) -> Roofline:
    """The roofline of a network on its device, for images [c, h, w] copied `images` at a time."""
    device = next(network.parameters()).device
    forward = training = matching = flops = 0.0
    for index, (layer, size) in enumerate(convolutions(network, shape)):
        passes = [_best(layer, size, device, which) for which in ("forward", "weights", "inputs")]
        ahead, weights, inputs = passes
        inner = index > 0  # training does not need the gradient of the first layer's input
        forward += ahead
        training += ahead + weights + inner * inputs
        # Second derivatives: y = x ∗ w, ∇w = x ⋆ ∇y and ∇x = w ⋆ ∇y have two each. Those with
        # respect to w are not needed. The first layer has no ∇x.
        matching += weights + (2 + inner) * (ahead + inputs)
        flops += (2 + inner) * operations(layer, size)
    batch = torch.rand(images, *shape, device=device)
    byte = seconds(batch.clone, device) / (2 * batch.nbytes)
    return Roofline(forward, training, matching, flops, byte)


def convolutions(
    network: nn.Module, shape: tuple[int, int, int]
) -> list[tuple[nn.Conv2d, tuple[int, int, int]]]:
    """The convolutions of a network in order, each with its input size (c, h, w)."""
    found: list[tuple[nn.Conv2d, tuple[int, int, int]]] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, nn.Conv2d)
        channels, height, width = inputs[0].shape[1:]
        found.append((layer, (channels, height, width)))

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    with torch.no_grad():
        network(torch.zeros(2, *shape, device=next(network.parameters()).device))
    for hook in hooks:
        hook.remove()
    return found


def operations(layer: nn.Conv2d, size: tuple[int, int, int]) -> int:
    """Multiplications and additions of one forward pass of one image [c, h, w]."""
    with torch.device("meta"):
        output = F.conv2d(
            torch.empty(1, *size),
            torch.empty(layer.weight.shape),
            None,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
    return 2 * output.numel() * layer.weight[0].numel()


def seconds(function: Callable[[], object], device: torch.device) -> float:
    """The shortest time of `REPEATS` runs, after one warm-up run."""
    taken = []
    for _ in range(1 + REPEATS):
        synchronise(device)
        started = time.perf_counter()
        function()
        synchronise(device)
        taken.append(time.perf_counter() - started)
    return min(taken[1:])


def synchronise(device: torch.device) -> None:
    """Wait until the accelerator has finished its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _best(layer: nn.Conv2d, size: tuple[int, int, int], device: torch.device, which: str) -> float:
    """Seconds per image of one of the three passes, with the fastest of `BATCHES`."""
    return min(_pass(layer, torch.randn(n, *size, device=device), which) / n for n in BATCHES)


def _pass(layer: nn.Conv2d, x: Tensor, which: str) -> float:
    weight = layer.weight.detach()
    assert not isinstance(layer.padding, str)

    def forward() -> Tensor:
        return F.conv2d(x, weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)

    if which == "forward":
        return seconds(forward, x.device)
    back = torch.randn_like(forward())
    mask = [which == "inputs", which == "weights", False]
    sizes = (layer.stride, layer.padding, layer.dilation, False, [0, 0], layer.groups)

    def backward() -> object:
        return torch.ops.aten.convolution_backward(back, x, weight, None, *sizes, mask)

    return seconds(backward, x.device)
