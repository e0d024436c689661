"""A training step as a CUDA graph: kernel launches are recorded once and replayed.

A step of a small network launches dozens of tiny kernels, and a GPU waits for most of them. A CUDA
graph launches all of them at once. It always uses the memory that it was recorded with, so batches
are copied to its input tensors, and gradients are read from its output tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condense.training.loop import Step

WARM_UP = 3
"""Runs before the recording, in which libraries select kernels and allocate memory."""

Work = Callable[[], None]
Record = Callable[[Work, torch.device], Work]
"""Records work on a device; returns a function that replays it."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A recorded step for batches of one shape."""

    images: Tensor
    """Input, like the labels."""
    labels: Tensor
    gradients: list[Tensor]
    """Output, for each parameter."""
    replay: Work


class CapturedStep(Step):
    """The same results as `Step`; recorded for each batch shape at its first use."""

    def __init__(
        self,
        network: nn.Module,
        max_batch: int | None = None,
        record: Record | None = None,
    ) -> None:
        """As `Step`.

        Args:
            network: without batch norm, whose statistics the warm-up would change.
            max_batch: as in `Step`.
            record: how to record the work; default: as a CUDA graph.
        """
        super().__init__(network, max_batch)
        self.record = record or record_graph
        self.recordings: dict[tuple[torch.Size, torch.Size], Recording] = {}

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """As `Step`."""
        shapes = images.shape, labels.shape
        if shapes not in self.recordings:
            self.recordings[shapes] = self._recording(images, labels)
        made = self.recordings[shapes]
        made.images.copy_(images)
        made.labels.copy_(labels)
        self._begin(made.gradients)
        made.replay()

    def _recording(self, images: Tensor, labels: Tensor) -> Recording:
        images, labels = images.clone(), labels.clone()
        gradients = [torch.empty_like(parameter) for parameter in self.network.parameters()]
        self._begin(gradients)
        replay = self.record(lambda: self.accumulate(images, labels), images.device)
        return Recording(images, labels, gradients, replay)

    def _begin(self, gradients: list[Tensor]) -> None:
        """Use these tensors as gradients of the parameters, and set them to zero."""
        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = gradient.zero_()


def record_graph(work: Work, device: torch.device) -> Work:
    """Record the kernel launches of `work` on a GPU; returns a function that replays them."""
    with torch.cuda.device(device):
        current = torch.cuda.current_stream()
        side = torch.cuda.Stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                work()
        current.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()

    def replay() -> None:
        with torch.cuda.device(device):
            graph.replay()

    return replay
