"""Batches from tensors: shuffled, gathered and normalised a batch at a time, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from continual.samples import Samples, answers_of


class BatchLoader:
    """Iterates over batches [images, labels, task labels] of several sources put together.

    Each iteration is an epoch. Sources keep their own scale of pixels and are normalised here, so
    that remembered images need not be of the type of the new ones. Where a source has answers,
    batches are [images, labels, answers, task labels].
    """

    def __init__(
        self,
        sources: Sequence[Samples],
        batch_size: int,
        generator: torch.Generator | None = None,
        updates: int | None = None,
    ) -> None:
        """Put the sources together.

        Args:
            sources: all on one device.
            batch_size: images in a batch; the last one of an epoch may be smaller.
            generator: shuffles anew each epoch; without one the order is that of the sources.
            updates: at most so many batches an epoch.
        """
        self.sources = [source for source in sources if len(source)]
        self.batch_size = batch_size
        self.generator = generator
        self.updates = updates
        answers = [source.answers for source in self.sources if source.answers is not None]
        self.classes = max((known.shape[1] for known in answers), default=None)
        """Of the answers; None where there are none."""

    def __len__(self) -> int:
        batches = -(-sum(map(len, self.sources)) // self.batch_size)
        return batches if self.updates is None else min(batches, self.updates)

    def __iter__(self) -> Iterator[list[Tensor]]:
        for batch in self._rows():
            parts = list(self._gather(batch))
            yield [torch.cat(column) for column in zip(*parts, strict=True)]

    def _rows(self) -> Iterator[Tensor]:
        """Of one batch after the other, counted through all sources."""
        yield from self._shuffled(sum(map(len, self.sources))).split(self.batch_size)[: len(self)]

    def _shuffled(self, count: int) -> Tensor:
        if self.generator is None:
            return torch.arange(count)
        return torch.randperm(count, generator=self.generator)

    def _gather(self, batch: Tensor) -> Iterator[list[Tensor]]:
        start = 0
        for source in self.sources:
            inside = (batch >= start) & (batch < start + len(source))
            picked = source[(batch[inside] - start).to(source.labels.device)]
            start += len(source)
            answers = [] if self.classes is None else [answers_of(picked, self.classes)]
            yield [picked.inputs(), picked.labels, *answers, picked.tasks]


class RehearsalLoader(BatchLoader):
    """A loader of which each batch has the same number of remembered samples.

    An epoch goes through the new samples once, and through the memory as often as it takes.
    """

    def __init__(
        self,
        new: Samples,
        memory: Samples,
        remembered: int,
        batch_size: int,
        generator: torch.Generator | None = None,
        updates: int | None = None,
    ) -> None:
        """Put both together.

        Args:
            new: samples.
            memory: samples, of which at least one.
            remembered: how many of a batch are from the memory; fewer than all.
            batch_size: as for `BatchLoader`.
            generator: likewise.
            updates: likewise.
        """
        super().__init__([new, memory], batch_size, generator, updates)
        self.new, self.memory, self.remembered = len(new), len(memory), remembered

    def __len__(self) -> int:
        batches = -(-self.new // (self.batch_size - self.remembered))
        return batches if self.updates is None else min(batches, self.updates)

    def _rows(self) -> Iterator[Tensor]:
        new = self._shuffled(self.new).split(self.batch_size - self.remembered)
        rounds = -(-len(self) * self.remembered // self.memory)
        memory = torch.cat([self._shuffled(self.memory) for _ in range(rounds)])
        # There may be more of either than there are updates.
        for pair in zip(new[: len(self)], memory.split(self.remembered), strict=False):
            yield torch.cat([pair[0], self.new + pair[1]])
