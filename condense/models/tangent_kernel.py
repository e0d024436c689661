"""The neural tangent kernel of an infinitely wide, fully connected ReLU network, in closed form.

Each layer computes σ_w / √fan_in · W x + σ_b b from its input x, where W and b are standard normal
(NTK parameterisation; Jacot, Gabriel & Hongler 2018). The expectations over two ReLUs are the
arc-cosine kernels of order 1 and 0 (Cho & Saul 2009).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

KEPT = 8
"""Matrices of the size of the kernel that a layer keeps for the backward pass."""


def tangent_kernel(first: Tensor, second: Tensor, depth: int, w_std: float, b_std: float) -> Tensor:
    """Θ(x, x') = Σ over all weights and biases θ of ∂f(x)/∂θ · ∂f(x')/∂θ; differentiable.

    Where two images have the same direction, the derivative of the angle between them, which is
    infinite, counts as 0.

    Args:
        first: images, [n, ...]; float32 or float64.
        second: images, [m, ...].
        depth: hidden layers, at least 1.
        w_std: σ_w of all layers.
        b_std: σ_b of all layers.

    Returns:
        [n, m].
    """
    rows, columns = first.flatten(1), second.flatten(1)
    w_var, b_var = w_std**2, b_std**2
    scale = w_var / rows.shape[1]
    # Σ(x, x') and Σ(x, x) of the pre-activations of the first layer; then layer by layer.
    covariance = torch.addmm(rows.new_tensor(b_var), rows, columns.T, alpha=scale)
    of_rows, of_columns = (scale * x.square().sum(1) + b_var for x in (rows, columns))
    kernel = covariance
    for _ in range(depth):
        outputs, slopes = relu_expectations(covariance, of_rows, of_columns)
        covariance = w_var * outputs + b_var
        kernel = covariance + w_var * slopes * kernel
        of_rows, of_columns = (w_var / 2 * variance + b_var for variance in (of_rows, of_columns))
    return kernel


def relu_expectations(
    covariance: Tensor, of_rows: Tensor, of_columns: Tensor
) -> tuple[Tensor, Tensor]:
    """E[relu(u) relu(v)] and E[relu'(u) relu'(v)] of Gaussian u and v with mean 0.

    Args:
        covariance: E[u v], [n, m].
        of_rows: E[u²], [n].
        of_columns: E[v²], [m].

    Returns:
        Two tensors [n, m].
    """
    accuracy = torch.finfo(covariance.dtype)
    norms = torch.outer(of_rows, of_columns).clamp(min=accuracy.tiny).sqrt()
    most = 1 - 100 * accuracy.eps  # beyond it the cosine is 1 but for rounding
    cosine = (covariance / norms).clamp(-most, most)
    rest = math.pi - cosine.acos()
    sine = (1 - cosine.square()).sqrt()
    return (norms * sine + rest * covariance) / (2 * math.pi), rest / (2 * math.pi)
