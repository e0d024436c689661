"""The training loop: stochastic gradient descent on tensors on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.errors import UserError
from condense.system.plain_torch import plain_torch
from condense.training.schedule import Schedule
from condense.training.threads import map_chunks, shared_operations

CHUNK_SIZE = 512
"""Maximum images per forward pass without gradients."""


class Step:
    """Computes the gradient of the mean cross-entropy of a batch into the parameters' `grad`."""

    def __init__(self, network: nn.Module, max_batch: int | None = None) -> None:
        """Initialise.

        Args:
            network: [n, c, h, w] -> [n, classes].
            max_batch: maximum images per forward pass, so that memory is bounded for any batch
                size and threads can share a batch; None: the whole batch, which batch norm needs.
        """
        self.network, self.max_batch = network, max_batch
        self.parameters = [weight for weight in network.parameters() if weight.requires_grad]

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Images [n, c, h, w], labels [n] or [n, classes]."""
        self.network.zero_grad()
        self.accumulate(images, labels)

    def accumulate(self, images: Tensor, labels: Tensor) -> None:
        """The same, but adds to the existing gradients."""
        if self.max_batch is None:
            with shared_operations(), batch_norm_explained():
                F.cross_entropy(self.network(images), labels).backward()
            return

        def gradients(chunk: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
            part, target = chunk
            loss = F.cross_entropy(self.network(part), target) * (len(part) / len(images))
            return torch.autograd.grad(loss, self.parameters)

        chunks = zip(images.split(self.max_batch), labels.split(self.max_batch), strict=True)
        for found in map_chunks(gradients, chunks):
            for parameter, gradient in zip(self.parameters, found, strict=True):
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad.add_(gradient)


@contextmanager
def batch_norm_explained() -> Iterator[None]:
    """Raises UserError where a batch norm has one value per channel, without statistics."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            "a batch has one image, of which a batch norm has no statistics: choose another batch "
            "size, or norm instance"
        ) from error


@plain_torch()
def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    before_step: Callable[[int], None] | None = None,
    step: Step | None = None,
) -> None:
    """Train `network` in place.

    Args:
        network: [n, c, h, w] -> [n, classes], on the device of the images.
        images: [n, c, h, w]: floats, the input of the network, or any tensor that `transform`
            converts to that.
        labels: int64 [n], or float [n, classes] for soft labels.
        schedule: steps, batch size and learning rate.
        generator: for the order of the images.
        transform: applied to each batch: normalisation of uint8 images, augmentation.
        before_step: called before each step with the number of completed steps; may raise to
            stop.
        step: a step of this network; default: `Step(network)`.

    Raises:
        UserError: a batch has one image, of which a batch norm of the network has no statistics.
    """
    step = step or Step(network)
    optimizer = schedule.optimizer(network.parameters())
    network.train()
    for done, rows in enumerate(batches(len(images), schedule.batch_size, generator)):
        if done >= schedule.steps:
            return
        if before_step is not None:
            before_step(done)
        schedule.adjust(optimizer, done)
        chosen = rows.to(images.device)
        batch = images[chosen] if transform is None else transform(images[chosen])
        step(batch, labels[chosen])
        optimizer.step()


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """The network is in evaluation mode; afterwards each of its modules is in the mode it was in.

    The modules of a user may be shared with other networks.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def all_finite(network: nn.Module) -> bool:
    """Whether all weights are finite: whether the training did not diverge.

    Buffers do not count: an attention mask is infinite, for example.
    """
    return all(bool(weight.isfinite().all()) for weight in network.parameters())


def train_with_lrs(
    network: nn.Module, images: Tensor, labels: Tensor, classes: int, lrs: Tensor
) -> None:
    """Train `network` in place by plain gradient descent with a learning rate for each step.

    Args:
        network: [n, c, h, w] -> [n, classes], on the device of the images.
        images: [n, c, h, w], normalised; the same number of each class, ordered by class.
        labels: int64 [n], or float [n, classes] for soft labels.
        classes: number of classes.
        lrs: [epochs, steps]; step s of an epoch uses the s-th share of each class's images.
    """
    rows = torch.arange(len(images), device=images.device).view(classes, -1)
    shares = [share.flatten() for share in rows.chunk(lrs.shape[1], dim=1)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    network.train()
    for epoch in lrs.tolist():
        for share, rate in zip(shares, epoch, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            F.cross_entropy(network(images[share]), labels[share]).backward()
            optimizer.step()


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of the batches, endless, each epoch in a new random order."""
    while True:
        yield from torch.randperm(n, generator=generator).split(size)


@torch.no_grad()
def in_chunks(
    function: Callable[[Tensor], Tensor], images: Tensor, chunk_size: int = CHUNK_SIZE
) -> Tensor:
    """`function` of all images [n, …], in chunks of `chunk_size`, without gradients."""
    return torch.cat(list(map_chunks(function, images.split(chunk_size))))
