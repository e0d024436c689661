"""Gradients class by class, and the distances between them (§3.1 of the paper, eq. 2 and 3)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

Gradients = dict[str, Tensor]
"""By parameter name; each [classes, *parameter.shape]."""

Distance = Callable[[Gradients, Gradients], Tensor]
"""D of each class, [classes]."""

EPSILON = 1e-6


def matched_parameters(network: nn.Module, distance: Distance) -> dict[str, Tensor]:
    """The parameters whose gradients `distance` compares.

    All of them, but for the paper's D, which leaves out those of one dimension: biases, and the
    scales and shifts of norms that have one for each channel.
    """
    return {
        name: value
        for name, value in network.named_parameters()
        if value.ndim > 1 or distance is not layerwise_distance
    }


def class_gradients(
    network: nn.Module, images: Tensor, classes: Tensor, matched: Collection[str]
) -> Gradients:
    """The gradient of each class's mean cross-entropy, all classes at once, to be differentiated.

    Args:
        network: evaluated at its present weights, which are treated as constants.
        images: [classes, n, c, h, w]; the gradients can be differentiated with respect to them.
        classes: int64 [classes], the label that all `n` images of a row share.
        matched: names of the parameters whose gradients are taken.
    """
    parameters = dict(network.named_parameters())
    weights = {name: parameters[name].detach() for name in matched}
    others = {
        name: value.detach()
        for name, value in [*parameters.items(), *network.named_buffers()]
        if name not in weights
    }

    # `functional_call` puts weights into the module for a moment, and threads share the network.
    own = copy.deepcopy(network, {id(tensor): tensor for tensor in _tensors(network)})

    def loss(weights: dict[str, Tensor], images: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(own, {**weights, **others}, (images,))
        return F.cross_entropy(logits, label.expand(len(images)))

    gradients: Gradients = vmap(grad(loss), in_dims=(None, 0, 0))(weights, images, classes)
    return gradients


def stacked_class_gradients(
    network: nn.Module,
    images: Iterable[Tensor],
    classes: Tensor,
    matched: Collection[str],
    chunk: int,
) -> Gradients:
    """The same numbers as `class_gradients`, not to be differentiated, for many images per class.

    It goes through the images of a class in chunks: memory is bounded whatever their number, and
    on a CPU the activations stay in the cache.

    Args:
        network: as above.
        images: for each class [n_class, c, h, w]; the numbers of images may differ. They are taken
            one class after the other, so that those of one class need be there at a time.
        classes: int64 [classes].
        matched: as above.
        chunk: images that go through the network at once.
    """
    parameters = dict(network.named_parameters())
    weights = [parameters[name] for name in matched]
    rows = []
    for group, label in zip(images, classes, strict=True):
        total = [torch.zeros_like(weight) for weight in weights]
        for part in group.split(chunk):
            loss = F.cross_entropy(network(part), label.expand(len(part)), reduction="sum")
            parts = torch.autograd.grad(loss / len(group), weights)
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
    piece: int,
) -> tuple[Tensor, Tensor]:
    """The gradient of Σ_c D with respect to `images`, and the value of Σ_c D.

    The graph of a gradient is large. Where a class has more images than `piece`, it is kept for so
    many at a time: the gradient g of a class is the mean of those of its images, so ∂D/∂x follows
    from ∂D/∂g and the images' own gradients, at the price of computing these twice.

    Args:
        network: as above.
        images: [classes, n, c, h, w].
        classes: int64 [classes].
        target: what D is measured from; of these classes, and of the parameters that count.
        distance: D.
        piece: images of a class whose graph is kept at once.
    """
    if images.shape[1] <= piece:
        images = images.detach().requires_grad_()
        value = distance(class_gradients(network, images, classes, target), target).sum()
        return torch.autograd.grad(value, images)[0], value.detach()
    whole = stacked_class_gradients(network, images, classes, target, piece)
    leaves = [gradient.requires_grad_() for gradient in whole.values()]
    value = distance(whole, target).sum()
    slopes = torch.autograd.grad(value, leaves)
    moved = []
    for part in images.detach().split(piece, 1):
        part.requires_grad_()
        gradients = class_gradients(network, part, classes, target).values()
        products = [(g * slope).sum() for g, slope in zip(gradients, slopes, strict=True)]
        along = torch.stack(products).sum()
        share = part.shape[1] / images.shape[1]
        moved.append(torch.autograd.grad(along, part)[0] * share)
    return torch.cat(moved, 1), value.detach()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """1 − cos along the last dimension: [..., d] and [..., d] -> [...]."""
    lengths: Tensor = a.norm(dim=-1) * b.norm(dim=-1)
    return 1 - (a * b).sum(-1) / (lengths + EPSILON)


def layerwise_distance(a: Gradients, b: Gradients) -> Tensor:
    """The paper's D: 1 − cos for the weights of each output node, summed over nodes and layers.

    Element-wise scales and shifts, which layer norm has, count like weights: a channel is a node.

    Returns:
        [classes].
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


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _flat(gradients: Gradients) -> Tensor:
    return torch.cat([gradient.flatten(1) for gradient in gradients.values()], 1)
