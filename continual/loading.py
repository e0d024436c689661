"""Batches from tensors, shuffled, indexed and normalised batch by batch on the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from avalanche.models.utils import avalanche_forward
from torch import Tensor, nn

from condense.training.loop import evaluation_mode
from continual.exemplars import Samples, padded_logits

EVAL_BATCH_SIZE = 128
"""Batch size of forward passes without gradients; larger batches are slower on a CPU."""


class BatchLoader:
    """Iterates over batches [images, labels, task labels] of several concatenated sources.

    Each iteration is an epoch. Each source has its own pixel scale and is normalised here, so
    exemplars and new images may have different dtypes. If a source has logits, batches are
    [images, labels, logits, task labels].
    """

    def __init__(
        self,
        sources: Sequence[Samples],
        batch_size: int,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> None:
        """Concatenate the sources.

        Args:
            sources: samples, all on one device.
            batch_size: images per batch; the last batch of an epoch may be smaller.
            generator: shuffles the samples in each epoch; None: in the order of the sources.
            steps: maximum number of batches per epoch.
        """
        self.sources = [source for source in sources if len(source)]
        self.batch_size = batch_size
        self.generator = generator
        self.steps = steps
        logits = [source.logits for source in self.sources if source.logits is not None]
        self.classes = max((known.shape[1] for known in logits), default=None)
        """Number of classes of the logits; None without logits."""

    def __len__(self) -> int:
        batches = -(-sum(map(len, self.sources)) // self.batch_size)
        return batches if self.steps is None else min(batches, self.steps)

    def __iter__(self) -> Iterator[list[Tensor]]:
        for batch in self._rows():
            parts = list(self._gather(batch))
            yield [torch.cat(column) for column in zip(*parts, strict=True)]

    def _rows(self) -> Iterator[Tensor]:
        """Row numbers of each batch, in the concatenation of all sources."""
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
            logits = [] if self.classes is None else [padded_logits(picked, self.classes)]
            yield [picked.inputs(), picked.labels, *logits, picked.tasks]


class RehearsalLoader(BatchLoader):
    """A loader with a fixed number of exemplars in each batch.

    An epoch uses each new sample once and repeats the memory as needed.
    """

    def __init__(
        self,
        new: Samples,
        memory: Samples,
        batch_size_mem: int,
        batch_size: int,
        generator: torch.Generator | None = None,
        steps: int | None = None,
    ) -> None:
        """Combine new samples and exemplars.

        Args:
            new: new samples.
            memory: exemplars, at least one.
            batch_size_mem: exemplars per batch; below `batch_size`.
            batch_size: as for `BatchLoader`.
            generator: as for `BatchLoader`.
            steps: as for `BatchLoader`.
        """
        super().__init__([new, memory], batch_size, generator, steps)
        self.new, self.memory, self.batch_size_mem = len(new), len(memory), batch_size_mem

    def __len__(self) -> int:
        batches = -(-self.new // (self.batch_size - self.batch_size_mem))
        return batches if self.steps is None else min(batches, self.steps)

    def _rows(self) -> Iterator[Tensor]:
        new = self._shuffled(self.new).split(self.batch_size - self.batch_size_mem)
        rounds = -(-len(self) * self.batch_size_mem // self.memory)
        memory = torch.cat([self._shuffled(self.memory) for _ in range(rounds)])
        # Either may have more batches than the epoch has steps.
        for pair in zip(new[: len(self)], memory.split(self.batch_size_mem), strict=False):
            yield torch.cat([pair[0], self.new + pair[1]])


@torch.no_grad()
def network_logits(model: nn.Module, samples: Samples, batch_size: int = EVAL_BATCH_SIZE) -> Tensor:
    """Outputs of a network in evaluation mode for samples on its device, [n, classes]."""
    batches, dtype = BatchLoader([samples], batch_size), input_dtype(model)
    with evaluation_mode(model):
        return torch.cat(
            [avalanche_forward(model, images.to(dtype), tasks) for images, *_, tasks in batches]
        )


def input_dtype(network: nn.Module) -> torch.dtype:
    """The dtype of a network's inputs: that of its weights."""
    floating = (weights.dtype for weights in network.parameters() if weights.is_floating_point())
    return next(floating, torch.float32)
