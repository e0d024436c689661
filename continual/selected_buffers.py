"""Replay buffers of real images, selected at random or by herding."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from condense import (
    ImageData,
    UserError,
    codec_of,
    generator,
    greedy_herding,
    in_chunks,
)
from condense import images_per_class as capacity
from continual.storage_policy import RehearsalBuffer
from continual.stored import StoredExemplars
from continual.streams import TaskImages


class SelectedBuffer(RehearsalBuffer):
    """Stores real images; a subclass implements `rank`."""

    @abstractmethod
    def rank(self, strategy: Any, data: ImageData, count: int) -> list[Tensor]:
        """Rows of the training split for each class, best first: `count`, or all there are."""

    def select(
        self, strategy: Any, images: TaskImages, images_per_class: int
    ) -> list[StoredExemplars]:
        """As many images of each class as fit into the bytes; all of a smaller class."""
        data = images.data.to(strategy.device) if self.follows_network else images.data
        settings = self.coreset(images_per_class)
        codec = codec_of(data, settings, most=int(data.y_train.bincount().max()))
        count = capacity(data, settings, codec)
        ranked = self.rank(strategy, data, count)
        planes = [codec.encode(data.normalise(data.x_train[rows])) for rows in ranked]
        every = StoredExemplars.of(codec, [torch.cat(parts) for parts in zip(*planes, strict=True)])
        return every.split([len(rows) for rows in ranked])


class RandomBuffer(SelectedBuffer):
    """Stores random training images.

    >>> from condense import load
    >>> from continual import RandomBuffer, make_benchmark
    >>> buffer = RandomBuffer(images_per_class=2)
    >>> buffer.post_adapt(None, make_benchmark([load("digits")]).train_stream[0])
    >>> len(buffer.buffer), buffer.bytes
    (20, 1280)
    """

    def rank(self, strategy: Any, data: ImageData, count: int) -> list[Tensor]:
        """Sample images of each class without replacement."""
        draws = generator(self.seed, "random memory", data.fingerprint())
        rows = data.train_indices_by_class()
        return [row[torch.randperm(len(row), generator=draws)[:count]] for row in rows]


class HerdingBuffer(SelectedBuffer):
    """Stores training images whose mean feature is closest to the mean feature of their class.

    Herding as in EEIL and iCaRL (Rebuffi et al. 2017, Algorithm 4), on L2-normalised outputs of
    `model.features`.

    >>> from types import SimpleNamespace
    >>> from condense import Network, build, generator, load
    >>> from continual import HerdingBuffer, make_benchmark
    >>> model = build(Network(), (1, 8, 8), 10, generator(0))
    >>> strategy = SimpleNamespace(model=model, device="cpu")
    >>> buffer = HerdingBuffer(images_per_class=2)
    >>> buffer.post_adapt(strategy, make_benchmark([load("digits")]).train_stream[0])
    >>> len(buffer.buffer)
    20
    """

    follows_network = True

    def rank(self, strategy: Any, data: ImageData, count: int) -> list[Tensor]:
        """Herding in the features of `strategy.model`.

        Raises:
            UserError: if the model has no `features`.
        """
        model = strategy.model
        if not callable(getattr(model, "features", None)):
            raise UserError("HerdingBuffer needs a model with a method or module `features`")

        def features(pixels: Tensor) -> Tensor:
            return F.normalize(model.features(data.normalise(pixels)).flatten(1))

        training = model.training
        model.eval()
        herded = [
            row[greedy_herding(in_chunks(features, data.x_train[row], 128), min(count, len(row)))]
            for row in data.train_indices_by_class()
        ]
        model.train(training)
        return herded
