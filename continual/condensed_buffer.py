"""The replay buffer of condensed images."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Unpack

import torch
from torch import Tensor

from condense import (
    Cache,
    Checkpointer,
    Codec,
    CondensedSet,
    ImageData,
    codec_of,
    condense,
    greedy_herding,
    method_named,
    preset_for,
    read_codec,
    unknown,
)
from condense import images_per_class as capacity
from condense.config.presets import PRESETS
from condense.methods.selection import large_classes
from continual.buffer_arguments import BufferKwargs
from continual.settings import check_condensing, condensing_preset, memory_method
from continual.storage_policy import RehearsalBuffer
from continual.stored import StoredExemplars
from continual.streams import TaskImages
from continual.tasks import small_shape

Checkpointers = Callable[[ImageData, int], AbstractContextManager[Checkpointer]]
"""Returns the `Checkpointer` of a condensation by its images and images per class: the same images
may come again with a smaller share."""

ONE_CLASS_METHOD = "dm"
"""For an experience of one class, instead of a method that needs several: the loss of one class has
no gradient."""


class CondensedBuffer(RehearsalBuffer):
    """Stores images condensed from each experience by any method of `condense`.

    The rank within a class is the herding order of the condensed images' pixels: the mean of the
    first k images is close to the mean of all. A class with fewer images than its share keeps its
    real images. An experience of one class is condensed by DM instead of DSA, DC, KIP, DD, GTN
    or LD, with the settings of DM at `preset` and the network of `settings`.

    Avalanche replays hard labels, so each image has the label of its class. A learnt soft label
    is stored as logits, in the place of those of `store_logits`. `samples` has it and `buffer` has
    not; `EEIL` distils from it as from other stored logits.

    >>> from types import SimpleNamespace
    >>> from condense import GradientMatching, load, preset
    >>> from continual import CondensedBuffer, make_benchmark
    >>> buffer = CondensedBuffer(10, settings=preset(GradientMatching, "smoke"))
    >>> stream = make_benchmark([load("digits")]).train_stream
    >>> buffer.post_adapt(SimpleNamespace(device="cpu"), stream[0])
    >>> len(buffer.buffer)
    10
    """

    def __init__(
        self,
        max_size: int = 0,
        *,
        method: str = "dsa",
        settings: Any = None,
        preset: str = "auto",
        checkpointers: Checkpointers | None = None,
        cache: Cache | None = None,
        **rest: Unpack[BufferKwargs],
    ) -> None:
        """Set the condensation method, and the arguments of `RehearsalBuffer`.

        Args:
            max_size: as in `RehearsalBuffer`.
            method: one of `condense.METHODS`.
            settings: settings of the method; their `ipc` is replaced by the share of a class.
                Default: `condensing_preset`.
            preset: of the default settings, and of DM's for an experience of one class: paper, cpu
                or smoke; auto: paper on a GPU, else cpu.
            checkpointers: returns the `Checkpointer` for the condensation of the given images to
                so many of each class; without it there are no checkpoints and no progress reports.
            cache: cache of condensed sets; None: no cache.
            rest: other arguments of `RehearsalBuffer`.

        Raises:
            UserError: if the method or the preset is unknown, or the settings are of another
                method or do not suit the storage.
        """
        super().__init__(max_size, **rest)
        self.method = method
        # Raises before the first experience is trained on.
        found = memory_method(method)
        if settings is not None:
            found.check(settings)
        self.store_logits = self.store_logits and not found.soft_labels(settings)
        self.settings = check_condensing(settings, self.storage, self.factor)
        if preset not in ("auto", *PRESETS):
            raise unknown("preset", preset, ("auto", *PRESETS))
        self.preset = preset
        self.checkpointers = checkpointers
        self.cache = cache

    def select(
        self, strategy: Any, images: TaskImages, images_per_class: int
    ) -> list[StoredExemplars]:
        """Condense the classes that have enough images; keep all images of the others."""
        data = images.data.to(strategy.device)
        method, settings = self._method(data, data.classes)
        needed = images_per_class
        if self.storage == "pixels":
            needed *= self.factor**2
        large = large_classes(data, max(needed, self._half_filling(data, images_per_class)))
        if len(large) < data.classes:
            method, settings = self._method(data, len(large))
        settings = replace(settings, ipc=needed)
        made: dict[int, StoredExemplars] = {}
        if large:
            some = data if len(large) == data.classes else data.with_classes(large)
            condensed = self._condensed(some, method, settings)
            codec = self._codec(condensed, some)
            labels = tuple(images.classes[label] for label in large)
            made = dict(zip(large, _exemplars(condensed, codec, labels), strict=True))
        return [
            made.get(label) or self._real(data, label, images_per_class)
            for label in range(data.classes)
        ]

    def _half_filling(self, data: ImageData, images_per_class: int) -> int:
        """Half of the images that fit into the share of a class. A condensed set has as many images
        of each class as its smallest class has, so a class with fewer would limit the others."""
        coreset, most = self.coreset(images_per_class), int(data.train_counts.max())
        return capacity(data, coreset, codec_of(data, coreset, most), most) // 2

    def _method(self, data: ImageData, classes: int) -> tuple[str, Any]:
        """Method and settings for this number of classes."""
        preset = preset_for(data.device.type, self.preset)
        storage, factor = self.storage, self.factor
        settings = self.settings or condensing_preset(self.method, preset, factor, classes, storage)
        if classes == 1 and method_named(self.method).several_classes:
            other = condensing_preset(ONE_CLASS_METHOD, preset, factor, storage=storage)
            return ONE_CLASS_METHOD, replace(other, network=settings.network)
        return self.method, settings

    def _condensed(self, data: ImageData, method: str, settings: Any) -> CondensedSet:
        """The set; with a factor and pixels, of small images."""
        if self.storage == "pixels" and self.factor > 1:
            channels, height, width = small_shape(data, self.factor)
            data = data.resized((height, width), channels)
        own = self.checkpointers(data, settings.ipc) if self.checkpointers else Checkpointer()
        with own as checkpointer:
            return condense(
                data,
                method,
                settings,
                seed=self.seed,
                checkpointer=checkpointer,
                cache=self.cache,
            )

    def _codec(self, condensed: CondensedSet, data: ImageData) -> Codec:
        """The codec of the set; of float32 images the buffer's own."""
        if condensed.stored is None:
            return codec_of(data, self.coreset(1))
        stored = condensed.stored
        return read_codec(stored.metadata, stored.tensors, condensed.mean, condensed.std)

    def _real(self, data: ImageData, label: int, images_per_class: int) -> StoredExemplars:
        """All images of a class that has fewer than its share."""
        images = data.x_train[data.y_train == label]
        codec = codec_of(data, self.coreset(images_per_class), most=len(images))
        return StoredExemplars.of(codec, codec.encode(data.normalise(images)))


def _exemplars(
    condensed: CondensedSet, codec: Codec, classes: tuple[int, ...]
) -> list[StoredExemplars]:
    """The images of each class by rank, as they are stored, with their soft labels as logits.

    Args:
        condensed: the set.
        codec: of the images; of smaller float32 images it keeps the size.
        classes: label in the stream of each class of the set.
    """
    logits = _soft_logits(condensed, classes)
    if condensed.stored is None:
        every = StoredExemplars.of(codec, [condensed.normalised()], logits)
    else:
        every = StoredExemplars(codec, condensed.stored.tensors, logits)
    labels = condensed.hard_labels
    rows = [(labels == label).nonzero()[:, 0] for label in range(condensed.classes)]
    pixels = condensed.images.flatten(1)
    return [every[mine[greedy_herding(pixels[mine], len(mine))]] for mine in rows]


def _soft_logits(condensed: CondensedSet, classes: tuple[int, ...]) -> Tensor | None:
    """Soft labels as logits, float16 [n, classes so far]; NaN for classes of other tasks."""
    if condensed.labels.ndim == 1:
        return None
    known = torch.full((len(condensed.labels), max(classes) + 1), torch.nan, dtype=torch.float16)
    known[:, classes] = condensed.targets.log().half()
    return known
