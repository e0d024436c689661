"""The synthetic images while they are learnt: planes of a codec, and their optimizer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from condense.config.methods import OptimisedImages
from condense.runs.checkpoint import Checkpoint
from condense.runs.state_dicts import restore_state, state_of
from condense.storage.codecs import Codec


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
        return self._decoded()

    def step(self, gradient: Tensor, lr: float) -> None:
        """One step of the optimizer.

        Args:
            gradient: with respect to `images()`, of the same shape.
            lr: learning rate.
        """
        gradients = torch.autograd.grad(self._decoded(), self.planes, gradient)
        for plane, own in zip(self.planes, gradients, strict=True):
            plane.grad = own
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

    def _decoded(self) -> Tensor:
        classes, count = self.planes[0].shape[:2]
        images = self.codec.decode([plane.flatten(0, 1) for plane in self.planes])
        return images.view(classes, count, *images.shape[1:])


def match_sampled(
    match: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    size: int | None,
    draws: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """What `match` returns for a sample of the images of each class.

    Args:
        match: returns the gradient of a distance with respect to its images, and the distance.
        images: [classes, n, c, h, w].
        size: images of each class in the sample; None: all.
        draws: for the sample.

    Returns:
        The gradient with respect to `images`, 0 where they are not in the sample; the distance.
    """
    classes, count = images.shape[:2]
    if size is None or size >= count:
        return match(images)
    columns = [torch.randperm(count, generator=draws)[:size] for _ in range(classes)]
    sample = torch.arange(classes)[:, None], torch.stack(columns)
    gradient = torch.zeros_like(images)
    gradient[sample], distance = match(images[sample])
    return gradient, distance


def optimizer_of(tensors: Sequence[Tensor], settings: OptimisedImages) -> Optimizer:
    """SGD with momentum, as published, or Adam."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(tensors, betas=(0.9, 0.99))
    return torch.optim.SGD(tensors, momentum=settings.mom_img)
