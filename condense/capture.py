"""A training step whose launches are recorded once and replayed.

A step of a small network is dozens of launches of tiny kernels, and an accelerator waits for most
of them. A CUDA graph launches all of them at once. It works on the memory that it was recorded on,
so batches are copied to where the graph reads them, and gradients are where it leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from condense.training import Step

WARM_UP = 3
"""Runs before a recording, in which libraries choose their kernels and take their memory."""

Work = Callable[[], None]
Record = Callable[[Work, torch.device], Work]
"""Takes work on a device to what does it again."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A step on batches of one shape."""

    images: Tensor
    """What it reads, as the labels."""
    labels: Tensor
    gradients: list[Tensor]
    """What it writes, for each parameter."""
    replay: Work


class CapturedStep(Step):
    """The same numbers as `Step`, recorded when a shape of batches comes for the first time."""

    def __init__(
        self,
        network: nn.Module,
        piece: int | None = None,
        record: Record | None = None,
    ) -> None:
        """As `Step`.

        Args:
            network: without batch norm, whose statistics the warm-up would move.
            piece: as there.
            record: how the work is recorded; as a CUDA graph where not given.
        """
        super().__init__(network, piece)
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
        """Let the parameters' gradients be these, from zero on."""
        for parameter, gradient in zip(self.network.parameters(), gradients, strict=True):
            parameter.grad = gradient.zero_()


def record_graph(work: Work, device: torch.device) -> Work:
    """Record the work's launches on a GPU; the result replays them."""
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
