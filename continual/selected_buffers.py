"""Replay buffers of real images, selected at random or by herding."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from avalanche.models.utils import avalanche_forward
from torch import Tensor, nn

from condense import (
    ImageData,
    UserError,
    codec_of,
    generator,
    greedy_herding,
    in_chunks,
)
from condense import images_per_class as capacity
from condense.methods.real_batches import real_rows
from condense.training.loop import evaluation_mode
from continual.loading import input_dtype
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
        most = int(data.train_counts.max())
        codec = codec_of(data, settings, most)
        count = capacity(data, settings, codec, most)
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
        return real_rows(data, count, draws)


class HerdingBuffer(SelectedBuffer):
    """Stores training images whose mean feature is closest to the mean feature of their class.

    Herding as in EEIL and iCaRL (Rebuffi et al. 2017, Algorithm 4), on L2-normalised outputs of
    `model.features` in the forward pass of the model, or of the images if that is a method.

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
        dtype = input_dtype(model)

        def features(pixels: Tensor) -> Tensor:
            found = _features_of(model, data.normalise(pixels).to(dtype))
            return F.normalize(found.flatten(1).float())

        def herd(rows: Tensor) -> Tensor:
            found = in_chunks(features, data.x_train[rows], 128)
            return rows[greedy_herding(found, min(count, len(rows)))]

        with evaluation_mode(model), _stops_after(model.features):
            return [herd(rows) for rows in data.train_indices_by_class()]


class _StopHereError(Exception):
    """The forward pass has the outputs of `features`."""

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        self.outputs = outputs


@contextmanager
def _stops_after(features: Any) -> Iterator[None]:
    """In this block a forward pass stops after `features`, if that is a module."""

    def stop(module: nn.Module, inputs: Any, outputs: Tensor) -> None:
        raise _StopHereError(outputs)

    if not isinstance(features, nn.Module):
        yield
        return
    with features.register_forward_hook(stop):
        yield


def _features_of(model: nn.Module, images: Tensor) -> Tensor:
    """The outputs of `model.features`, in a block of `_stops_after`.

    The forward pass knows the input of `features`: networks of Avalanche flatten the images first.
    """
    features: Any = model.features
    try:
        if isinstance(features, nn.Module):
            avalanche_forward(model, images, None)
        outputs: Tensor = features(images)  # a method, or a module that the model itself leaves out
    except _StopHereError as stopped:
        return stopped.outputs
    return outputs
