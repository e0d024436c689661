"""The forgetting coreset: real images with the most forgetting events (Toneva et al. 2019).

A forgetting event: the network misclassifies an image that it classified correctly when the image
was last in a batch. The images of each class with the most forgetting events are selected.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.condensed_set import CondensedSet
from condense.config.methods import Forgetting
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.selection import coreset_size, set_of_rows
from condense.models.build import build
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.runs.state_dicts import restore_state, state_of
from condense.seeds import generator
from condense.training.loop import all_finite

NEVER_LEARNT = torch.iinfo(torch.int64).max
"""Count of an image that was never classified correctly: higher than any other count."""


@dataclass(frozen=True, eq=False)
class Record:
    """The statistics of each training image; `see` updates them in place."""

    right: Tensor
    """bool [n]: classified correctly when last in a batch."""
    learnt: Tensor
    """bool [n]: classified correctly at least once."""
    events: Tensor
    """int64 [n]: number of forgetting events."""

    @classmethod
    def empty(cls, n: int, device: torch.device) -> Record:
        """The initial statistics of `n` images."""
        right, learnt = torch.zeros(2, n, dtype=torch.bool, device=device)
        return cls(right, learnt, torch.zeros(n, dtype=torch.int64, device=device))

    def see(self, rows: Tensor, right: Tensor) -> None:
        """Record a batch: `rows` int64 [b], all different; `right` bool [b], correct or not."""
        self.events[rows] += self.right[rows] & ~right
        self.learnt[rows] |= right
        self.right[rows] = right

    def forgotten(self) -> Tensor:
        """int64 [n]: forgetting events; `NEVER_LEARNT` if never classified correctly."""
        return self.events.masked_fill(~self.learnt, NEVER_LEARNT)


def forgetting_coreset(
    data: ImageData, settings: Forgetting, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """The `settings.ipc` images of each class with the most forgetting events, in falling order.

    Args:
        data: the training set; the computation runs on its device.
        settings: the training of the network.
        seed: for the weights, the order of the images, and the order of equal counts.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a class has too few images, or the network diverges.
    """
    count = coreset_size(data, settings)
    forgotten = count_forgetting(data, settings, seed, checkpointer)
    rows = most_forgotten(data, forgotten, count, seed)
    return set_of_rows(data, rows, settings)


def most_forgotten(data: ImageData, forgotten: Tensor, ipc: int, seed: int) -> Tensor:
    """Rows of the training split, [classes, ipc], with the highest counts; ties at random.

    Args:
        data: the training set, with at least `ipc` images of each class.
        forgotten: int64 [n], a count for each training image.
        ipc: images per class.
        seed: for the order of equal counts.
    """
    shuffled = torch.randperm(len(forgotten), generator=generator(seed, "ties")).to(data.device)
    order = shuffled[forgotten[shuffled].argsort(descending=True, stable=True)]
    classes = data.y_train[order]
    return torch.stack([order[classes == label][:ipc] for label in range(data.classes)])


def count_forgetting(
    data: ImageData, settings: Forgetting, seed: int, checkpointer: Checkpointer
) -> Tensor:
    """Train a network on the whole training split; the forgetting counts, int64 [n].

    Raises:
        UserError: it diverges.
    """
    network = build(settings.network, data.shape, data.classes, generator(seed, "network"))
    network.to(data.device).train()
    optimizer = torch.optim.SGD(
        network.parameters(),
        settings.lr,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
        weight_decay=settings.weight_decay,
    )
    record, start = Record.empty(len(data.x_train), data.device), 0
    before = checkpointer.restore()
    if before:
        start = before.count("epoch", settings.epochs)
        record = Record(**{name: before.tensor(name, like) for name, like in vars(record).items()})
        restore_state("network", network, before)
        restore_state("optimizer", optimizer, before)
    for epoch in range(start, settings.epochs):
        optimizer.param_groups[0]["lr"] = learning_rate(settings, epoch)
        train_epoch(
            network, optimizer, data, settings.batch_size, record, generator(seed, "epoch", epoch)
        )
        if not all_finite(network):
            raise UserError(f"diverged in epoch {epoch + 1}: use a lower learning rate")
        right = float(record.right.float().mean())
        checkpointer.report(
            epoch + 1, settings.epochs, right=right, forgotten=int(record.events.sum())
        )
        state = {**state_of("network", network), **state_of("optimizer", optimizer), **vars(record)}
        checkpointer.save(Checkpoint(state, {"epoch": epoch + 1}))
    return record.forgotten()


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: ImageData,
    batch_size: int,
    record: Record,
    draws: torch.Generator,
) -> None:
    """One epoch on the training split in a new order; `record` is updated with every batch."""
    for rows in (
        torch.randperm(len(data.x_train), generator=draws).to(data.device).split(batch_size)
    ):
        labels = data.y_train[rows]
        logits = network(data.normalise(data.x_train[rows]))
        record.see(rows, logits.argmax(1) == labels)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()


def learning_rate(settings: Forgetting, epoch: int) -> float:
    """The learning rate in an epoch (from 0)."""
    milestones = sum(epoch >= fraction * settings.epochs for fraction in (0.3, 0.6, 0.8))
    return settings.lr * 0.2**milestones
