"""A plain version of Algorithm 1 of the paper: the reference for the engine's speed and results.

It loops over classes, draws augmentation parameters per image, uses a `DataLoader` in the inner
loop, and evaluates one network at a time. It shares no computation with the engine, only the
images, architectures, settings and the order of random draws, so both give the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import MultiStepLR
from torch.utils.data import DataLoader, TensorDataset

from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.models.build import build
from condense.models.layers import AveragePool, LayerNorm, Shape
from condense.seeds import generator

Rows = list[list[float]]
"""Three uniform random numbers per image, or one row shared by all images."""
AugmentParams = list[tuple[str, Rows]]
"""An operation and its random numbers for each class."""


def augment(images: Tensor, operation: str, rows: Rows) -> Tensor:
    """Apply an operation to images [n, c, h, w], with a row of numbers per image or one for all."""
    rows = rows[: len(images)] if len(rows) > 1 else rows * len(images)
    height, width = images.shape[2:]
    if operation == "color":
        u = torch.tensor(rows, device=images.device)[:, :, None, None, None]
        images = images + (u[:, 0] - 0.5)
        grey = images.mean(1, keepdim=True)
        images = (images - grey) * (2 * u[:, 1]) + grey
        mean = images.mean((1, 2, 3), keepdim=True)
        return (images - mean) * (u[:, 2] + 0.5) + mean
    if operation == "crop":
        most_x, most_y = int(0.125 * width + 0.5), int(0.125 * height + 0.5)
        padded = F.pad(images, (most_x, most_x, most_y, most_y))
        corners = [(int(u[0] * (2 * most_x + 1)), int(u[1] * (2 * most_y + 1))) for u in rows]
        cut = [
            p[:, y : y + height, x : x + width] for p, (x, y) in zip(padded, corners, strict=True)
        ]
        return torch.stack(cut)
    if operation == "cutout":
        mask = torch.ones_like(images)
        for keep, row in zip(mask, rows, strict=True):
            keep[:, _half(height, row[0]), _half(width, row[1])] = 0
        return images * mask
    if operation == "flip":
        flipped = torch.tensor([u[0] < 0.5 for u in rows], device=images.device)
        return torch.where(flipped[:, None, None, None], images.flip(3), images)
    if operation == "scale":
        factors = [[1 / 1.2 + u * (1.2 - 1 / 1.2) for u in row[:2]] for row in rows]
        return _warp(images, [[[x, 0.0, 0.0], [0.0, y, 0.0]] for x, y in factors])
    if operation == "rotate":
        turns = [math.radians(15) * (2 * u[0] - 1) for u in rows]
        pairs = [(math.cos(turn), math.sin(turn)) for turn in turns]
        return _warp(images, [[[cos, -sin, 0.0], [sin, cos, 0.0]] for cos, sin in pairs])
    raise ValueError(operation)


def _half(side: int, u: float) -> slice:
    length = int(side * 0.5 + 0.5)
    first = int(u * (side + 1 - length % 2)) - length // 2
    return slice(max(first, 0), max(first + length, 0))


def _warp(images: Tensor, theta: list[list[list[float]]]) -> Tensor:
    shape = list(images.shape)
    grid = F.affine_grid(torch.tensor(theta, device=images.device), shape, align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def sample_params(
    strategy: Sequence[str], draws: torch.Generator, classes: int, images: int
) -> AugmentParams:
    """Sample an operation for each class, and numbers for `images` images (1: shared by all)."""
    drawn = [int(torch.randint(len(strategy), (), generator=draws)) for _ in range(classes)]
    rows = [[torch.rand(3, generator=draws).tolist() for _ in range(images)] for _ in drawn]
    return [(strategy[i], numbers) for i, numbers in zip(drawn, rows, strict=True)]


def transform_of(
    strategy: Sequence[str], draws: torch.Generator, shared: bool = False
) -> Callable[[Tensor], Tensor]:
    """Augments a batch, with numbers per image, or `shared`; no change if `strategy` is empty."""

    def transform(images: Tensor) -> Tensor:
        if not strategy:
            return images
        ((name, rows),) = sample_params(strategy, draws, 1, 1 if shared else len(images))
        return augment(images, name, rows)

    return transform


def strategy_of(settings: GradientMatching | Evaluation, data: ImageData) -> Sequence[str]:
    """The operations to draw from: as set, else all; flip only if `data.hflip`."""
    names = ("color", "crop", "cutout", "flip", "scale", "rotate")
    return settings.dsa_strategy or tuple(name for name in names if data.hflip or name != "flip")


def sample(data: ImageData, count: int, draws: torch.Generator) -> list[Tensor]:
    """Draw up to `count` real images of each class."""
    batches = []
    for label in range(data.classes):
        rows = torch.where(data.y_train == label)[0]
        chosen = torch.randperm(len(rows), generator=draws)[:count]
        batches.append(data.normalise(data.x_train[rows[chosen.to(rows.device)]]))
    return batches


def network_of(settings: Network, shape: Shape, classes: int, draws: torch.Generator) -> nn.Module:
    """A new network in float32 with only PyTorch's own layers."""
    network = build(replace(settings, precision="float32"), shape, classes, draws)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, AveragePool):
                setattr(module, name, nn.AvgPool2d(2))
            elif isinstance(child, LayerNorm):
                setattr(module, name, nn.LayerNorm(child.normalized_shape))
    return network


def gradient(network: nn.Module, images: Tensor, label: int, graph: bool = False) -> list[Tensor]:
    """∇_θ of the cross-entropy on images of one class, for the weights used in D."""
    labels = torch.full((len(images),), label, device=images.device)
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    loss = F.cross_entropy(network(images), labels)
    return list(torch.autograd.grad(loss, weights, create_graph=graph))


def distance(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    """D: 1 − cos of the gradients of each output node, summed over nodes and layers."""
    total = torch.zeros((), device=ours[0].device)
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.flatten(1), b.flatten(1)
        cosines = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)
        total = total + (1 - cosines).sum()
    return total


def freeze_batch_norm(network: nn.Module, data: ImageData, draws: torch.Generator) -> None:
    """Run one forward pass of 16 real images per class, then fix the running statistics."""
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if layers:
        network.train()
        with torch.no_grad():
            network(torch.cat(sample(data, 16, draws)))
        for layer in layers:
            layer.eval()


def class_sweep(
    network: nn.Module,
    images: Tensor,
    data: ImageData,
    settings: GradientMatching,
    draws: torch.Generator,
) -> float:
    """Add the gradient of Σ_c D to `images.grad`; images [classes, ipc, c, h, w]. Returns Σ_c D."""
    freeze_batch_norm(network, data, draws)
    batches = sample(data, settings.batch_real, draws)
    omega = sample_params(strategy_of(settings, data), draws, data.classes, 1)
    total = 0.0
    for label in range(data.classes):
        real, synthetic = batches[label], images[label]
        if siamese(settings):
            real, synthetic = augment(real, *omega[label]), augment(synthetic, *omega[label])
        target = gradient(network, real, label)
        matched = gradient(network, synthetic, label, graph=True)
        value = distance(matched, target)
        value.backward(inputs=[images])
        total += value.item()
    return total


def siamese(settings: GradientMatching) -> bool:
    """Whether real and synthetic images get the same augmentation (DSA); DC has none."""
    return settings.augment_synthetic == "siamese"


def train(
    network: nn.Module,
    dataset: TensorDataset,
    optimizer: SGD,
    epochs: int,
    batch: int,
    draws: torch.Generator,
    transform: Callable[[Tensor], Tensor],
    schedule: MultiStepLR | None = None,
) -> None:
    """Train on labelled images [n, c, h, w]; each batch goes through `transform` first."""
    network.train()
    for _ in range(epochs):
        order = torch.randperm(len(dataset), generator=draws).tolist()
        for x, y in DataLoader(dataset, batch, sampler=order):
            optimizer.zero_grad()
            F.cross_entropy(network(transform(x)), y).backward()
            optimizer.step()
            if schedule:
                schedule.step()
    torch.randperm(len(dataset), generator=draws)  # the engine draws one more order than it uses


def outer_iteration(
    data: ImageData, settings: GradientMatching, images: Tensor, optimizer: SGD, seed: int, k: int
) -> float:
    """The k-th outer iteration: T class sweeps, with ς_θ epochs of network training in between.

    Args:
        data: the training set 𝒯.
        settings: the loops, learning rates and augmentations.
        images: [classes, ipc, c, h, w], normalised, updated in place by `optimizer`.
        optimizer: of `images`.
        seed: with k, determines all random draws.
        k: the number of the iteration.

    Returns:
        The distance, averaged over classes and steps.
    """
    draws = generator(seed, "outer", k)
    network = network_of(settings.network, data.shape, data.classes, draws).to(data.device)
    labels = torch.arange(data.classes, device=data.device).repeat_interleave(settings.ipc)
    strategy = strategy_of(settings, data) if siamese(settings) else ()
    steps, epochs = settings.loops()
    total = 0.0
    for t in range(steps):
        optimizer.zero_grad()
        total += class_sweep(network, images, data, settings, draws)
        optimizer.step()
        if t < steps - 1:
            dataset = TensorDataset(images.detach().flatten(0, 1), labels)
            sgd, batch = SGD(network.parameters(), settings.lr_net), settings.batch_train
            train(network, dataset, sgd, epochs, batch, draws, transform_of(strategy, draws))
    return total / (steps * data.classes)


def evaluate(
    images: Tensor, labels: Tensor, data: ImageData, settings: Evaluation, seed: int
) -> list[float]:
    """Test accuracy of new networks trained on normalised images [n, c, h, w], one at a time."""
    strategy = strategy_of(settings, data) if settings.augment != "none" else ()
    epochs = settings.epoch_eval_train or (1000 if strategy else 300)
    shared = settings.augment == "siamese"
    values, dataset = [], TensorDataset(images, labels)
    for number in range(settings.num_eval):
        draws = generator(seed, "evaluation", number)
        network = network_of(settings.network, data.shape, data.classes, draws).to(data.device)
        optimizer = SGD(
            network.parameters(),
            settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        batch = settings.batch_size
        count = epochs * math.ceil(len(images) / batch)
        schedule = MultiStepLR(optimizer, [round(count / 2)])
        transform = transform_of(strategy, draws, shared)
        train(network, dataset, optimizer, epochs, batch, draws, transform, schedule)
        values.append(accuracy(network, data))
    return values


@torch.no_grad()
def accuracy(network: nn.Module, data: ImageData) -> float:
    """The fraction of test images classified correctly."""
    network.eval()
    right = 0
    for images, labels in DataLoader(TensorDataset(data.x_test, data.y_test), 256):
        right += int((network(data.normalise(images)).argmax(1) == labels).sum())
    return right / len(data.y_test)
