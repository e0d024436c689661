"""Differentiable gradient descent, used by DD, GTN and LD."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

Weights = dict[str, Tensor]
"""A network's parameters by name; in IDM also its buffers."""


def logits_at(network: nn.Module, weights: Weights, images: Tensor) -> Tensor:
    """Logits [n, classes] of `network` with the given weights, for images [n, c, h, w]."""
    logits: Tensor = functional_call(network, weights, (images,))
    return logits


def descend(
    network: nn.Module, weights: Weights, images: Tensor, labels: Tensor, lr: Tensor | float
) -> Weights:
    """θ − lr · ∇_θ L(images, labels): a step that is differentiable in all its inputs.

    Args:
        network: its own weights are replaced by `weights`.
        weights: θ; each requires a gradient, or is the result of an earlier step.
        images: [n, c, h, w].
        labels: int64 [n], or float [n, classes] for soft labels.
        lr: the learning rate.
    """
    loss = F.cross_entropy(logits_at(network, weights, images), labels)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    return {
        name: weight - lr * gradient
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True)
    }
