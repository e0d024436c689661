"""Batches from tensors: shuffled, gathered and normalised a batch at a time, on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from continual.samples import Samples


class BatchLoader:
    """Iterates over batches [images, labels, task labels] of several sources put together.

    Each iteration is an epoch. Sources keep their own scale of pixels and are normalised here, so
    that remembered images need not be of the type of the new ones.
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

    def __len__(self) -> int:
        batches = -(-sum(map(len, self.sources)) // self.batch_size)
        return batches if self.updates is None else min(batches, self.updates)

    def __iter__(self) -> Iterator[list[Tensor]]:
        count = sum(map(len, self.sources))
        order = (
            torch.arange(count)
            if self.generator is None
            else torch.randperm(count, generator=self.generator)
        )
        for batch in order.split(self.batch_size)[: len(self)]:
            parts = list(self._gather(batch))
            yield [torch.cat(column) for column in zip(*parts, strict=True)]

    def _gather(self, batch: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        start = 0
        for source in self.sources:
            inside = (batch >= start) & (batch < start + len(source))
            picked = source[(batch[inside] - start).to(source.labels.device)]
            start += len(source)
            yield picked.inputs(), picked.labels, picked.tasks
