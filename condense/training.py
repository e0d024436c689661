"""The one training loop: stochastic gradient descent on tensors that live on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.augment import augment_batch
from condense.parallel import map_pieces, shared_operations

CHUNK = 512
"""Images that go through a network at once where no gradient is wanted, at most."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to train."""

    updates: int
    batch: int
    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    drops: tuple[float, ...] = ()
    """Fractions of the updates after which the learning rate is divided by ten."""

    @classmethod
    def of_epochs(cls, epochs: int, images: int, batch: int, **rest: object) -> Schedule:
        """The schedule of so many passes over so many images."""
        return cls(epochs * -(-images // batch), batch, **rest)  # type: ignore[arg-type]

    def optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.SGD:
        """At the rate that it starts with."""
        return torch.optim.SGD(
            parameters, self.lr, momentum=self.momentum, weight_decay=self.weight_decay
        )

    def adjust(self, optimizer: torch.optim.SGD, update: int) -> None:
        """Let the rate drop where it is time to; to be called before every update, from 0 on."""
        if update in {round(drop * self.updates) for drop in self.drops}:
            optimizer.param_groups[0]["lr"] /= 10


class Step:
    """Puts the gradient of a batch's mean cross-entropy into a network's parameters."""

    def __init__(self, network: nn.Module, piece: int | None = None) -> None:
        """Put together.

        Args:
            network: [n, c, h, w] -> [n, classes].
            piece: images that go through the network at once, so that memory is bounded whatever
                the batch, and threads can share it; None for all of a batch, which is what batch
                norm wants.
        """
        self.network, self.piece = network, piece
        self.parameters = [each for each in network.parameters() if each.requires_grad]

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """Images [n, c, h, w], labels [n] or [n, classes]."""
        self.network.zero_grad()
        self.accumulate(images, labels)

    def accumulate(self, images: Tensor, labels: Tensor) -> None:
        """The same, added to the gradients that are there."""
        if self.piece is None:
            with shared_operations():
                F.cross_entropy(self.network(images), labels).backward()
            return

        def gradients(piece: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
            part, target = piece
            loss = F.cross_entropy(self.network(part), target) * (len(part) / len(images))
            return torch.autograd.grad(loss, self.parameters)

        pieces = zip(images.split(self.piece), labels.split(self.piece), strict=True)
        for found in map_pieces(gradients, pieces):
            for parameter, gradient in zip(self.parameters, found, strict=True):
                if parameter.grad is None:
                    parameter.grad = gradient
                else:
                    parameter.grad.add_(gradient)


def train(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    schedule: Schedule,
    generator: torch.Generator,
    *,
    strategy: tuple[str, ...] = (),
    shared: bool = False,
    prepare: Callable[[Tensor], Tensor] | None = None,
    before_update: Callable[[int], None] | None = None,
    piece: int | None = None,
    step: Step | None = None,
) -> None:
    """Train `network` in place.

    Args:
        network: [n, c, h, w] -> [n, classes], on the device of the images.
        images: [n, c, h, w]: floats as the network takes them, or anything that `prepare` makes
            into that a batch at a time (uint8 images are normalised so).
        labels: int64 [n], or float [n, classes] for soft labels.
        schedule: updates, batch size and learning rate.
        generator: for the order and the augmentation.
        strategy: the operations one of which is drawn for each batch; none where empty.
        shared: all images of a batch share the draw's numbers.
        prepare: applied to each batch.
        before_update: told, before each update, how many have been done; may raise to stop.
        piece: of the step.
        step: of this network, in place of one of `piece`.
    """
    step = step or Step(network, piece)
    optimizer = schedule.optimizer(network.parameters())
    network.train()
    for update, rows in enumerate(batches(len(images), schedule.batch, generator)):
        if update >= schedule.updates:
            return
        if before_update is not None:
            before_update(update)
        schedule.adjust(optimizer, update)
        chosen = rows.to(images.device)
        batch = images[chosen] if prepare is None else prepare(images[chosen])
        if strategy:
            batch = augment_batch(batch, strategy, generator, shared=shared)
        step(batch, labels[chosen])
        optimizer.step()


def train_at_rates(
    network: nn.Module, images: Tensor, labels: Tensor, classes: int, rates: Tensor
) -> None:
    """Train `network` in place by plain gradient descent, each step at a rate of its own.

    Args:
        network: [n, c, h, w] -> [n, classes], on the device of the images.
        images: [n, c, h, w], as the network takes them, as many of each class, class after class.
        labels: int64 [n], or float [n, classes] for soft labels.
        classes: how many there are.
        rates: [epochs, steps]; in each epoch step s is on the s-th share of each class's images.
    """
    rows = torch.arange(len(images), device=images.device).view(classes, -1)
    shares = [share.flatten() for share in rows.chunk(rates.shape[1], dim=1)]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    network.train()
    for epoch in rates.tolist():
        for share, rate in zip(shares, epoch, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            F.cross_entropy(network(images[share]), labels[share]).backward()
            optimizer.step()


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of one batch after the other, without end, each epoch in a new order."""
    while True:
        yield from torch.randperm(n, generator=generator).split(size)


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], images: Tensor, chunk: int = CHUNK) -> Tensor:
    """`function` of all images [n, …], `chunk` at a time, without gradients."""
    return torch.cat(list(map_pieces(function, images.split(chunk))))
