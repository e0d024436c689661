"""Layers shared by the architectures: norms, activations, pooling."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import wrap
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""


class Features(nn.Sequential):
    """Sequential layers with a precision: [n, c, h, w] -> [n, d], always float32."""

    precision = "float32"

    def forward(self, images: Tensor) -> Tensor:
        """Weights stay float32; with bfloat16, operations run under autocast.

        On the meta device, where nothing is computed, it is always float32.
        """
        mixed = self.precision != "float32" and images.device.type != "meta"
        kind = getattr(torch, self.precision)
        with torch.autocast(images.device.type, kind) if mixed else nullcontext():
            found: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return found.float() if mixed else found


class LayerNorm(LazyModuleMixin, nn.LayerNorm):
    """Layer norm over all channels and pixels of an image, with a scale and a shift per element.

    As in the published networks. The shape is set by the first forward pass, on the meta device.
    """

    weight: UninitializedParameter  # type: ignore[assignment]
    bias: UninitializedParameter  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__((0,), elementwise_affine=False)
        self.elementwise_affine = True
        self.weight, self.bias = UninitializedParameter(), UninitializedParameter()

    def initialize_parameters(self, images: Tensor) -> None:
        """Take the shape from images [n, c, h, w]."""
        self.normalized_shape = tuple(images.shape[1:])
        for parameter in (self.weight, self.bias):
            parameter.materialize(self.normalized_shape)

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, c, h, w]."""
        # Not F.layer_norm: under vmap its second derivative is wrong (torch 2.15).
        return F.group_norm(images, 1, eps=self.eps) * self.weight + self.bias


WIDEST_PRODUCT = 256
"""Pixels of a row up to which `AveragePool` is a product: the matrix grows with their square."""


class AveragePool(nn.Module):
    """2×2 average pooling, the same values as `nn.AvgPool2d(2)`.

    On a CPU a product with a small matrix, which takes a fifth of the time of PyTorch's pooling,
    forward and backward; this makes a whole training step a quarter shorter.
    """

    def forward(self, images: Tensor) -> Tensor:
        """[..., h, w] -> [..., h / 2, w / 2]."""
        return _average_pool(images)


@wrap  # a node of its own in graphs of torch.fx, where images have no shape
def _average_pool(images: Tensor) -> Tensor:
    *rest, height, width = images.shape
    if images.device.type != "cpu" or height % 2 or width % 2 or width > WIDEST_PRODUCT:
        return F.avg_pool2d(images, 2)
    pairs_of_rows = images.reshape(*rest, height // 2, 2 * width)
    return pairs_of_rows @ _pooling_matrix(width, images.dtype)


@lru_cache
@torch.inference_mode(False)  # the matrix is cached, and may be used in training later
def _pooling_matrix(width: int, dtype: torch.dtype) -> Tensor:
    """Maps two concatenated rows of `width` pixels to one row of means; [2w, w / 2]."""
    columns = torch.eye(width // 2, dtype=dtype, device="cpu").repeat_interleave(2, 0)
    return columns.repeat(2, 1) / 4


# One group per channel is instance normalisation.
NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "instance": lambda width: [nn.GroupNorm(width, width)],
    "batch": lambda width: [nn.BatchNorm2d(width)],
    "layer": lambda width: [LayerNorm()],
    "group": lambda width: [nn.GroupNorm(4, width)],
    "none": lambda width: [],
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),  # as published; one tensor less for the backward pass
    "leakyrelu": lambda: nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid,
}
POOLINGS: dict[str, Callable[[], list[nn.Module]]] = {
    "avg": lambda: [AveragePool()],
    "max": lambda: [nn.MaxPool2d(2)],
    "none": lambda: [],
}
