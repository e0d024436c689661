"""The synthetic images while they are learnt: planes of a codec, and their optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from condense.config.methods import OptimisedImages
from condense.runs.checkpoint import Checkpoint
from condense.runs.state_dicts import restore_state, state_of
from condense.storage.codecs import Codec


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of the images of each class, decoded once: for a gradient, and for the step along it."""

    planes: Sequence[Tensor]
    """Each [classes, n, channels, height, width]."""
    decoded: Tensor
    """[classes, n, c, h, w], normalised, with the graph to the planes."""
    rows: tuple[Tensor, Tensor] | None
    """Class [classes, 1] and number [classes, n] of each image; None: all images."""

    @property
    def images(self) -> Tensor:
        """The decoded images without the graph."""
        return self.decoded.detach()

    def of(self, values: Tensor) -> Tensor:
        """The values of these images, of values for all images [classes, all, ...]."""
        return values if self.rows is None else values[self.rows]

    def spread(self, values: Tensor, count: int) -> Tensor:
        """Values of these images as values of all images [classes, count, ...]; 0 elsewhere."""
        if self.rows is None:
            return values
        whole = values.new_zeros(len(values), count, *values.shape[2:])
        whole[self.rows] = values
        return whole


class SyntheticImages:
    """Images [classes, n, c, h, w], optimised in the planes in which they are stored.

    Args:
        codec: of the images.
        planes: each [classes, n, channels, height, width], normalised; they are copied.
        settings: the optimizer.
    """

    def __init__(self, codec: Codec, planes: Sequence[Tensor], settings: OptimisedImages) -> None:
        self.codec = codec
        self.planes = [plane.detach().clone().requires_grad_() for plane in planes]
        self._optimizer = optimizer_of(self.planes, settings)
        self._has_state = settings.optimizer == "adam" or settings.mom_img > 0

    @torch.no_grad()
    def images(self) -> Tensor:
        """The decoded images, normalised."""
        return self._decoded(self.planes)

    def sample(self, size: int | None, draws: torch.Generator) -> Sample:
        """A sample of the images of each class.

        Args:
            size: images of each class in the sample; None, or as many as there are: all.
            draws: for the sample.
        """
        classes, count = self.planes[0].shape[:2]
        planes, rows = [plane.detach() for plane in self.planes], None
        if size is not None and size < count:
            columns = [torch.randperm(count, generator=draws)[:size] for _ in range(classes)]
            rows = torch.arange(classes)[:, None], torch.stack(columns)
            planes = [plane[rows] for plane in planes]
        planes = [plane.requires_grad_() for plane in planes]
        with torch.enable_grad():
            return Sample(planes, self._decoded(planes), rows)

    def step(self, sample: Sample, gradient: Tensor, lr: float) -> None:
        """One step of the optimizer.

        Args:
            sample: of these images, since the last step.
            gradient: with respect to `sample.images`, of the same shape; that of the others is 0.
            lr: learning rate.
        """
        gradients = torch.autograd.grad(sample.decoded, sample.planes, gradient)
        for plane, own in zip(self.planes, gradients, strict=True):
            plane.grad = sample.spread(own, plane.shape[1])
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """Named tensors for a checkpoint."""
        planes = {f"plane{number}": plane.detach() for number, plane in enumerate(self.planes)}
        return {**planes, **state_of("optimizer", self._optimizer)}

    def restore(self, before: Checkpoint) -> None:
        """Load what `state` returned.

        Raises:
            UserError: the checkpoint does not fit.
        """
        for number, plane in enumerate(self.planes):
            plane.data = before.tensor(f"plane{number}", plane.detach())
        with before.restoring():
            if self._has_state and not any(
                name.startswith("optimizer.") for name in before.tensors
            ):
                raise KeyError("optimizer")
        restore_state("optimizer", self._optimizer, before)

    def _decoded(self, planes: Sequence[Tensor]) -> Tensor:
        classes, count = planes[0].shape[:2]
        images = self.codec.decode([plane.flatten(0, 1) for plane in planes])
        return images.view(classes, count, *images.shape[1:])


def optimizer_of(tensors: Sequence[Tensor], settings: OptimisedImages) -> Optimizer:
    """SGD with momentum, as published, or Adam."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(tensors, betas=(0.9, 0.99))
    return torch.optim.SGD(tensors, momentum=settings.mom_img)
