"""The forgetting coreset: real images that are hard to remember (Toneva et al. 2019).

An image is forgotten where the network classifies it wrongly and had classified it rightly when it
was last seen in a batch. The images of each class that are forgotten most often are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from condense.checkpoints import restore_state, state_of
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.journal import Checkpoint, Journal
from condense.methods.coresets import require_images, set_of_rows
from condense.networks import build
from condense.seeds import generator
from condense.settings import Forgetting

NEVER_LEARNT = torch.iinfo(torch.int64).max
"""Counts as forgotten more often than any image that was ever classified rightly."""


@dataclass(frozen=True, eq=False)
class Record:
    """What has been seen of each training image; `see` changes it in place."""

    right: Tensor
    """bool [n]: classified rightly when last seen."""
    learnt: Tensor
    """bool [n]: classified rightly at least once."""
    events: Tensor
    """int64 [n]: how often it was forgotten."""

    @classmethod
    def empty(cls, n: int, device: torch.device) -> Record:
        """Nothing seen yet of `n` images."""
        right, learnt = torch.zeros(2, n, dtype=torch.bool, device=device)
        return cls(right, learnt, torch.zeros(n, dtype=torch.int64, device=device))

    def see(self, rows: Tensor, right: Tensor) -> None:
        """Images `rows` int64 [b], all different, were classified rightly or not, bool [b]."""
        self.events[rows] += self.right[rows] & ~right
        self.learnt[rows] |= right
        self.right[rows] = right

    def forgotten(self) -> Tensor:
        """int64 [n]: how often each was forgotten; `NEVER_LEARNT` where it was never right."""
        return self.events.masked_fill(~self.learnt, NEVER_LEARNT)


def forgetting_coreset(
    data: ImageData, settings: Forgetting, seed: int, journal: Journal
) -> CondensedSet:
    """The `settings.ipc` images of each class that are forgotten most often, most often first.

    Args:
        data: the training set; its device is the one that is computed on.
        settings: how the network is trained whose forgetting counts.
        seed: weights, the order in which images are seen, and which of equals are kept.
        journal: told of every epoch; an interrupted run goes on from it.

    Raises:
        UserError: for a class with too few images.
    """
    require_images(data, settings.ipc)
    forgotten = count_forgetting(data, settings, seed, journal)
    return set_of_rows(data, most_forgotten(data, forgotten, settings.ipc, seed))


def most_forgotten(data: ImageData, forgotten: Tensor, ipc: int, seed: int) -> Tensor:
    """Rows of the training split, [classes, ipc], of the highest counts; among equals, at random.

    Args:
        data: the training set, with at least `ipc` images of each class.
        forgotten: int64 [n], a count for each training image.
        ipc: images per class.
        seed: which of equals come first.
    """
    shuffled = torch.randperm(len(forgotten), generator=generator(seed, "ties")).to(data.device)
    order = shuffled[forgotten[shuffled].argsort(descending=True, stable=True)]
    classes = data.y_train[order]
    return torch.stack([order[classes == label][:ipc] for label in range(data.classes)])


def count_forgetting(data: ImageData, settings: Forgetting, seed: int, journal: Journal) -> Tensor:
    """Train a network on the whole training split; how often it forgot each image, int64 [n]."""
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
    before = journal.restore()
    if before:
        start = before.count("epoch", settings.epochs)
        record = Record(**{name: before.tensor(name, like) for name, like in vars(record).items()})
        restore_state("network", network, before)
        restore_state("optimizer", optimizer, before)
    for epoch in range(start, settings.epochs):
        optimizer.param_groups[0]["lr"] = learning_rate(settings, epoch)
        train_epoch(
            network, optimizer, data, settings.batch, record, generator(seed, "epoch", epoch)
        )
        right = float(record.right.float().mean())
        journal.report(epoch + 1, settings.epochs, right=right, forgotten=int(record.events.sum()))
        state = {**state_of("network", network), **state_of("optimizer", optimizer), **vars(record)}
        journal.save(Checkpoint(state, {"epoch": epoch + 1}))
    return record.forgotten()


def train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: ImageData,
    batch: int,
    record: Record,
    draws: torch.Generator,
) -> None:
    """One pass over the training split in a new order; `record` sees what the network sees."""
    for rows in torch.randperm(len(data.x_train), generator=draws).to(data.device).split(batch):
        labels = data.y_train[rows]
        logits = network(data.normalise(data.x_train[rows]))
        record.see(rows, logits.argmax(1) == labels)
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()


def learning_rate(settings: Forgetting, epoch: int) -> float:
    """The learning rate in an epoch, counted from 0."""
    drops = sum(epoch >= fraction * settings.epochs for fraction in (0.3, 0.6, 0.8))
    return settings.lr * 0.2**drops
