"""The gradient of each class, and of the matching loss (paper, §3.1, eq. 2 and 3)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from condense.gradients.distances import Distance, Gradients, layerwise_distance


def matched_parameters(network: nn.Module, distance: Distance) -> dict[str, Tensor]:
    """The parameters whose gradients `distance` compares.

    All parameters, except that the D of the paper excludes one-dimensional ones: biases, and the
    per-channel scales and shifts of norms.
    """
    return {
        name: value
        for name, value in network.named_parameters()
        if value.ndim > 1 or distance is not layerwise_distance
    }


def class_gradients(
    network: nn.Module, images: Tensor, classes: Tensor, matched: Collection[str]
) -> Gradients:
    """The gradient of the mean cross-entropy of each class, for all classes at once.

    Args:
        network: its current weights are treated as constants.
        images: [classes, n, c, h, w]; the gradients are differentiable with respect to them.
        classes: int64 [classes], the label of all `n` images of a row.
        matched: names of the parameters to differentiate by.
    """
    if len(classes) == 1:  # `vmap` would take a tenth to a quarter longer
        return _one_class_gradient(network, images[0], classes, matched)
    parameters = dict(network.named_parameters())
    weights = {name: parameters[name].detach() for name in matched}
    others = {
        name: value.detach()
        for name, value in [*parameters.items(), *network.named_buffers()]
        if name not in weights
    }

    # `functional_call` temporarily replaces weights in the module, and threads share the network.
    own = copy.deepcopy(network, {id(tensor): tensor for tensor in _tensors(network)})

    def loss(weights: dict[str, Tensor], images: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(own, {**weights, **others}, (images,))
        return F.cross_entropy(logits, label.expand(len(images)))

    gradients: Gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, classes)
    return gradients


def _one_class_gradient(
    network: nn.Module, images: Tensor, label: Tensor, matched: Collection[str]
) -> Gradients:
    parameters = dict(network.named_parameters())
    loss = F.cross_entropy(network(images), label.expand(len(images)))
    weights = [parameters[name] for name in matched]
    found = torch.autograd.grad(loss, weights, create_graph=True)
    return {name: gradient[None] for name, gradient in zip(matched, found, strict=True)}


def stacked_class_gradients(
    network: nn.Module,
    images: Iterable[Tensor],
    classes: Tensor,
    matched: Collection[str],
    chunk_size: int,
) -> Gradients:
    """The same values as `class_gradients`, not differentiable, for many images per class.

    The images of a class are processed in chunks: memory is bounded for any number of images, and
    on a CPU the activations stay in the cache.

    Args:
        network: as in `class_gradients`.
        images: for each class [n_class, c, h, w]; the numbers of images may differ. Classes are
            read one after the other, so only one class needs to be in memory at a time.
        classes: int64 [classes].
        matched: as in `class_gradients`.
        chunk_size: images per forward pass.
    """
    parameters = dict(network.named_parameters())
    weights = [parameters[name] for name in matched]
    rows = []
    for own, label in zip(images, classes, strict=True):
        total = [torch.zeros_like(weight) for weight in weights]
        for part in own.split(chunk_size):
            loss = F.cross_entropy(network(part), label.expand(len(part)), reduction="sum")
            parts = torch.autograd.grad(loss / len(own), weights)
            torch._foreach_add_(total, parts)
        rows.append(total)
    return {
        name: torch.stack(row) for name, row in zip(matched, zip(*rows, strict=True), strict=True)
    }


def distance_gradient(
    network: nn.Module,
    images: Tensor,
    classes: Tensor,
    target: Gradients,
    distance: Distance,
    max_images: int,
) -> tuple[Tensor, Tensor]:
    """The gradient of Σ_c D with respect to `images`, and the value of Σ_c D.

    The graph of a gradient is large. If a class has more than `max_images` images, the graph is
    kept for `max_images` images at a time: the gradient g of a class is the mean of the gradients
    of its images, so ∂D/∂x follows from ∂D/∂g and the gradients of the images, which are computed
    twice.

    Args:
        network: as in `class_gradients`.
        images: [classes, n, c, h, w].
        classes: int64 [classes].
        target: the gradients to match, for these classes and the matched parameters.
        distance: D.
        max_images: maximum images of a class in one graph.
    """
    if images.shape[1] <= max_images:
        images = images.detach().requires_grad_()
        value = distance(class_gradients(network, images, classes, target), target).sum()
        return torch.autograd.grad(value, images)[0], value.detach()
    whole = stacked_class_gradients(network, images, classes, target, max_images)
    leaves = [gradient.requires_grad_() for gradient in whole.values()]
    value = distance(whole, target).sum()
    slopes = torch.autograd.grad(value, leaves)
    moved = []
    for part in images.detach().split(max_images, 1):
        part.requires_grad_()
        gradients = class_gradients(network, part, classes, target).values()
        products = [(g * slope).sum() for g, slope in zip(gradients, slopes, strict=True)]
        along = torch.stack(products).sum()
        share = part.shape[1] / images.shape[1]
        moved.append(torch.autograd.grad(along, part)[0] * share)
    return torch.cat(moved, 1), value.detach()


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
