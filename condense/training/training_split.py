"""Training a network on the training split of a dataset."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from condense.augment.params import augment_batch
from condense.data.image_data import ImageData
from condense.models.build import Classifier
from condense.training.chunking import max_training_batch
from condense.training.loop import Step, train
from condense.training.schedule import Schedule


def train_on_split(
    network: Classifier,
    data: ImageData,
    schedule: Schedule,
    draws: torch.Generator,
    strategy: tuple[str, ...] = (),
    report: Callable[[int], None] | None = None,
) -> None:
    """Train `network` in place, on its device.

    Args:
        network: on the device of the images.
        data: all its training images are used.
        schedule: steps, batch size and learning rate.
        draws: for the order of the images and augmentation.
        strategy: the operations, one of which is sampled for each batch; empty: no augmentation.
        report: called with the number of completed steps, from 0 to `schedule.steps`.
    """

    def transform(images: Tensor) -> Tensor:
        images = data.normalise(images)
        return augment_batch(images, strategy, draws) if strategy else images

    step = Step(network, max_training_batch(network, data.shape, data.device))
    images, labels = data.x_train, data.y_train
    train(
        network,
        images,
        labels,
        schedule,
        draws,
        transform=transform,
        before_step=report,
        step=step,
    )
    if report is not None:
        report(schedule.steps)
