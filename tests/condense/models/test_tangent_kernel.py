"""The closed form against angles by hand, and against the gradients of wide random networks."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.func import jacrev, vmap

from condense.models.tangent_kernel import tangent_kernel
from condense.seeds import generator

W_STD, B_STD = math.sqrt(2), 0.3


@pytest.mark.parametrize(
    ("degrees", "value"),
    [(0, 2.0), (60, math.sqrt(3) / (2 * math.pi) + 2 / 3), (90, 1 / math.pi), (180, 0.0)],
)
def test_a_hidden_layer_by_hand(degrees: float, value: float) -> None:
    """With Σ(x, x) = 1, σ_b = 0: Θ = (sin φ + (π − φ) cos φ) / π + (π − φ) / π · cos φ."""
    angle = math.radians(degrees)
    first = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    second = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    kernel = tangent_kernel(first, second, 1, W_STD, 0.0)
    assert kernel.item() == pytest.approx(value, abs=1e-6)


def random_network(params: dict[str, Tensor], x: Tensor) -> Tensor:
    """A network with one output in the NTK parameterisation."""
    for layer in range(len(params) // 2):
        weight, bias = params[f"w{layer}"], params[f"b{layer}"]
        x = x.relu() if layer else x
        x = W_STD / math.sqrt(weight.shape[1]) * (weight @ x) + B_STD * bias
    return x[0]


@pytest.mark.parametrize("depth", [1, 3])
def test_it_is_the_kernel_of_the_gradients_of_wide_networks(depth: int) -> None:
    inputs, width, networks = 5, 512, 24
    draws = generator(0, "tangent", depth)
    images = torch.randn(4, inputs, generator=draws, dtype=torch.float64)
    images[1] = 2 * images[0]
    sizes = [inputs, *[width] * depth, 1]
    found = []
    for _ in range(networks):
        params = {}
        for layer, (fan_in, fan_out) in enumerate(pairwise(sizes)):
            params[f"w{layer}"] = torch.randn(fan_out, fan_in, generator=draws).double()
            params[f"b{layer}"] = torch.randn(fan_out, generator=draws).double()
        jacobian = vmap(jacrev(random_network), (None, 0))(params, images)
        rows = torch.cat([part.flatten(1) for part in jacobian.values()], 1)
        found.append(rows @ rows.T)
    every = torch.stack(found)
    error = every.std(0) / math.sqrt(networks)
    kernel = tangent_kernel(images, images, depth, W_STD, B_STD)
    scale = torch.outer(kernel.diagonal(), kernel.diagonal()).sqrt()
    # Five standard errors, and the bias of a finite width, which falls with 1 / width.
    assert ((every.mean(0) - kernel).abs() < 5 * error + 2 * scale / width).all()
    assert (error < 0.05 * scale).all()


def test_gradients_by_finite_differences() -> None:
    draws = generator(1, "tangent")
    first, second = (torch.randn(3, 2, 4, generator=draws).double() for _ in range(2))
    second.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: tangent_kernel(first, x, 2, 1.3, 0.2), (second,))
    assert torch.autograd.gradcheck(lambda x: tangent_kernel(x, x, 2, 1.3, 0.2), (second,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_and_blank_images_have_finite_gradients(dtype: torch.dtype) -> None:
    images = torch.randn(3, 6, generator=generator(2, "tangent")).to(dtype)
    images[1], images[2] = images[0], 0
    images.requires_grad_()
    kernel = tangent_kernel(images, images, 1, W_STD, 0.0)
    kernel.sum().backward()
    assert images.grad is not None
    assert images.grad.isfinite().all()
    torch.testing.assert_close(kernel[0, 1], kernel[0, 0])
