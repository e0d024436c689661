"""D: distances between the gradients of two sets of images (paper, §3.1)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Gradients = dict[str, Tensor]
"""By parameter name; each `[classes, *parameter.shape]`."""

Distance = Callable[[Gradients, Gradients], Tensor]
"""D of each class, [classes]."""

EPSILON = 1e-6


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 − cos along the last dimension: [..., d] and [..., d] -> [...]."""
    lengths: Tensor = a.norm(dim=-1) * b.norm(dim=-1)
    return 1 - (a * b).sum(-1) / (lengths + EPSILON)


def layerwise_distance(a: Gradients, b: Gradients) -> Tensor:
    """D of the paper: 1 − cos for the weights of each output node, summed over nodes and layers.

    The element-wise scales and shifts of layer norm are treated as weights: a channel is a node.

    Args:
        a: gradients by parameter name, each `[classes, *parameter.shape]`.
        b: as `a`.

    Returns:
        D of each class, [classes].
    """
    return torch.stack([cosine(a[name].flatten(2), b[name].flatten(2)).sum(1) for name in a]).sum(0)


def cosine_distance(a: Gradients, b: Gradients) -> Tensor:
    """1 − cos of all parameters as one vector; [classes]."""
    return cosine(_flat(a), _flat(b))


def mse_distance(a: Gradients, b: Gradients) -> Tensor:
    """The squared Euclidean distance of all parameters as one vector; [classes]."""
    return (_flat(a) - _flat(b)).square().sum(-1)


DISTANCES: dict[str, Distance] = {
    "layerwise": layerwise_distance,
    "cosine": cosine_distance,
    "mse": mse_distance,
}
"""The distances by name."""


def _flat(gradients: Gradients) -> Tensor:
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], 1)
