"""Replay buffers of condensed or selected images.

They are Avalanche `ExemplarsBuffer`s for `EEIL`. With a fixed total they also work in
`ReplayPlugin(mem_size=N, storage_policy=buffer)` with any other strategy. The exemplars of a class
are sorted by rank, so a smaller memory is the first images of a larger one.

A factor stores more, smaller images in the same bytes (IDC, Kim et al. 2022): with factor 2, four
images of half the height and width replace one. They are resized to full size at replay. Logits of
the network can be stored with an image (DER, Buzzega et al. 2020). Learned soft labels are always
stored.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.storage_policy import ExemplarsBuffer
from torch import Tensor

from condense import (
    Cache,
    Checkpointer,
    CondensedSet,
    ImageData,
    UserError,
    condense,
    generator,
    greedy_herding,
    in_chunks,
    method_named,
    preset_for,
    resize,
)
from continual.exemplars import Samples, as_dataset, join
from continual.settings import check_condensing, condensing_preset
from continual.streams import TaskImages, images_of
from continual.tasks import small_shape


class Group(NamedTuple):
    """Key of the exemplars of one class of one experience."""

    experience: int
    task: int
    label: int


class Exemplars(NamedTuple):
    """Images of one class, best first."""

    images: Tensor
    """[n, c, h, w]: uint8, or float32 with 0 for black and 1 for white, stored as uint8 over the
    buffer's `value_range`. Larger images are resized to the size that the factor gives."""
    logits: Tensor | None = None
    """Logits of the classes so far, [n, classes], if the images have them."""


class RehearsalBuffer(ExemplarsBuffer):  # type: ignore[misc]
    """Stores the same number of images of every class of every experience.

    Base class of the three buffers below; a subclass implements `select`.
    """

    follows_network = False
    """Whether `select` depends on the network; if so, EEIL selects again after stage 2."""
    value_range = (0.0, 1.0)
    """Pixel values of the bytes 0 and 255; every pixel is stored as one byte."""

    def __init__(
        self,
        max_size: int = 0,
        *,
        images_per_class: int | None = None,
        factor: int = 1,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        hflip: bool = True,
        store_logits: bool = False,
        seed: int = 0,
    ) -> None:
        """Set either a fixed total or a fixed number per class.

        Args:
            max_size: fixed total. Each (experience, class) has an equal share; the shares become
                smaller with each new class.
            images_per_class: fixed number per (experience, class), without a limit of the total;
                not for `ReplayPlugin`, which needs a fixed total.
            factor: divides the height and width of stored images. Sizes count full-size images;
                factor² stored images take the space of one.
            mean: per channel, the normalisation of the experience's images. Not used for
                experiences of `make_benchmark`, which have their own.
            std: as `mean`.
            hflip: whether a flipped image keeps its class (False for digits); used as `mean`.
            store_logits: whether `EEIL` stores its logits with each image and distils from them
                (Buzzega et al. 2020).
            seed: seed of all random numbers.

        Raises:
            UserError: if not exactly one size is given, or a value is below 1.
        """
        super().__init__(max_size)
        if max_size < 1 and images_per_class is None:
            raise UserError("give the buffer a size: max_size (in total) or images_per_class")
        if max_size and images_per_class is not None:
            raise UserError("give the buffer either max_size or images_per_class, not both")
        if images_per_class is not None and images_per_class < 1:
            raise UserError(f"images per class must be at least 1, not {images_per_class}")
        if factor < 1:
            raise UserError(f"the factor must be at least 1, not {factor}")
        self.images_per_class = images_per_class
        self.factor = factor
        self.mean, self.std, self.hflip = mean, std, hflip
        self.store_logits = store_logits
        self.seed = seed
        self.groups: dict[Group, Samples] = {}
        """Sorted by rank within each group; images are removed from the end."""

    @abstractmethod
    def select(self, strategy: Any, images: TaskImages, ipc: int) -> list[Exemplars]:
        """Select or make the exemplars of each class of a task.

        Args:
            strategy: the strategy; its `model` may be used.
            images: the training images of the task.
            ipc: number of exemplars per class.
        """

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Store exemplars of this experience; replaces earlier exemplars of it."""
        number = int(exp.current_experience)
        tasks = images_of(exp, self.mean, self.std, self.hflip)
        mine = [Group(number, task.task, label) for task in tasks for label in task.classes]
        others = {group: kept for group, kept in self.groups.items() if group not in mine}
        ipc = self._share(len(others) + len(mine))
        groups = {group: kept[:ipc] for group, kept in others.items()}
        for task in tasks:
            small = small_shape(task.data, self.factor)
            chosen = self.select(agent_state, task, ipc)
            for label, (images, logits) in zip(task.classes, chosen, strict=True):
                group = Group(number, task.task, label)
                kept = self._kept(resize(images, small[1:]), group, task.data)
                groups[group] = replace(kept, logits=logits)
        self.groups = groups  # set at the end: an interrupted selection loses nothing
        self._refresh()

    def update_logits(self, exp: Any, logits_of: Callable[[Samples], Tensor]) -> None:
        """Store logits of the exemplars of an experience: `logits_of` returns [n, classes so far].

        `buffer` does not change: Avalanche's datasets have no logits.
        """
        number = int(exp.current_experience)
        for group, kept in self.groups.items():
            if group.experience == number:
                self.groups[group] = replace(kept, logits=logits_of(kept).half().cpu())

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """Called by `ReplayPlugin`; overrides Avalanche's version, which warns of deprecation."""
        self.post_adapt(strategy, strategy.experience)

    def resize(self, strategy: Any, new_size: int) -> None:
        """Set the total and remove the lowest-ranked images beyond each class's share.

        Removed images do not come back when the memory grows again: their experience's data are no
        longer available.
        """
        self.max_size, self.images_per_class = new_size, None
        if self.groups:
            ipc = self._share(len(self.groups))
            self.groups = {group: kept[:ipc] for group, kept in self.groups.items()}
        self._refresh()

    @property
    def samples(self) -> Samples | None:
        """All exemplars as tensors; None if the memory is empty."""
        return join(list(self.groups.values())) if self.groups else None

    @property
    def bytes(self) -> int:
        """Bytes of the images and the logits."""
        return sum(kept.bytes for kept in self.groups.values())

    def state_dict(self) -> dict[str, Tensor]:
        """Images and logits of each group by name, for a checkpoint."""
        found: dict[str, Tensor] = {}
        for group, kept in self.groups.items():
            name = ".".join(map(str, group))
            found[name] = kept.images
            if kept.logits is not None:
                found[f"{name}.logits"] = kept.logits
        return found

    def load_state_dict(self, state_dict: Mapping[str, Tensor], data: ImageData) -> None:
        """Load a `state_dict` of images with the size and normalisation of `data`.

        Raises:
            ValueError: if the tensors do not match this memory.
        """
        self.groups = {}
        for name, images in state_dict.items():
            if not name.endswith(".logits"):
                group = Group(*map(int, name.split(".")))
                small = small_shape(data, self.factor)
                if images.dtype != torch.uint8 or images.shape[1:] != small:
                    raise ValueError(f"{name}: {images.dtype} {list(images.shape)} are not images")
                kept = self._kept(images, group, data)
                self.groups[group] = replace(kept, logits=state_dict.get(f"{name}.logits"))
        self.groups = dict(sorted(self.groups.items()))
        self._refresh()

    def _kept(self, images: Tensor, group: Group, data: ImageData) -> Samples:
        if images.dtype != torch.uint8:
            lowest, highest = self.value_range
            coded = (images - lowest) * (255 / (highest - lowest))
            images = coded.round().clamp(0, 255).to(torch.uint8)
        labels, tasks = (torch.full((len(images),), value) for value in (group.label, group.task))
        mean, std, size = data.mean, data.std, data.shape[1:]
        return Samples(images.cpu(), labels, tasks, mean, std, size, self.value_range)

    def _share(self, groups: int) -> int:
        """Number of stored images per class.

        Raises:
            UserError: if the total is too small for the classes.
        """
        places = self.images_per_class or self.max_size // groups
        if places < 1:
            raise UserError(
                f"a memory of {self.max_size} images cannot hold {groups} classes: "
                f"give it at least {groups}"
            )
        return places * self.factor**2

    def _refresh(self) -> None:
        samples = self.samples
        if samples is not None:
            self.buffer: AvalancheDataset = as_dataset(samples)
        if self.images_per_class is not None:
            self.max_size = 0 if samples is None else len(samples) // self.factor**2


class RandomBuffer(RehearsalBuffer):
    """Stores random training images; all images of a class with fewer than its share.

    >>> from condense import load
    >>> from continual import RandomBuffer, make_benchmark
    >>> buffer = RandomBuffer(images_per_class=2)
    >>> buffer.post_adapt(None, make_benchmark([load("digits")]).train_stream[0])
    >>> len(buffer.buffer), buffer.bytes
    (20, 1280)
    """

    def select(self, strategy: Any, images: TaskImages, ipc: int) -> list[Exemplars]:
        """Sample `ipc` images of each class without replacement."""
        data = images.data
        draws = generator(self.seed, "random memory", data.fingerprint())
        rows = data.train_indices_by_class()
        drawn = [row[torch.randperm(len(row), generator=draws)[:ipc]] for row in rows]
        return [Exemplars(data.x_train[row]) for row in drawn]


class HerdingBuffer(RehearsalBuffer):
    """Stores training images whose mean feature is closest to the mean feature of their class.

    Herding as in EEIL and iCaRL (Rebuffi et al. 2017, Algorithm 4), on L2-normalised outputs of
    `model.features`. A class with fewer images than its share is stored completely.

    >>> from types import SimpleNamespace
    >>> from condense import Network, build, load
    >>> from continual import HerdingBuffer, make_benchmark
    >>> strategy = SimpleNamespace(model=build(Network(), (1, 8, 8), 10), device="cpu")
    >>> buffer = HerdingBuffer(images_per_class=2)
    >>> buffer.post_adapt(strategy, make_benchmark([load("digits")]).train_stream[0])
    >>> len(buffer.buffer)
    20
    """

    follows_network = True

    def select(self, strategy: Any, images: TaskImages, ipc: int) -> list[Exemplars]:
        """Select `ipc` images of each class by herding in the features of `strategy.model`.

        Raises:
            UserError: if the model has no `features`.
        """
        model, data = strategy.model, images.data.to(strategy.device)
        if not callable(getattr(model, "features", None)):
            raise UserError("HerdingBuffer needs a model with a method or module `features`")

        def features(pixels: Tensor) -> Tensor:
            return F.normalize(model.features(data.normalise(pixels)).flatten(1))

        training = model.training
        model.eval()
        herded = [
            row[greedy_herding(in_chunks(features, data.x_train[row], 128), min(ipc, len(row)))]
            for row in data.train_indices_by_class()
        ]
        model.train(training)
        return [Exemplars(data.x_train[row]) for row in herded]


class CondensedBuffer(RehearsalBuffer):
    """Stores images condensed from each experience by any method of `condense`.

    The rank within a class is the herding order of the condensed images' pixels: the mean of the
    first k images is close to the mean of all.

    Condensed pixels slightly exceed the range of real ones, so `value_range` is wider here.
    Avalanche replays hard labels, so each image has the label of its class. A learned soft label
    is stored as logits, and `EEIL` distils from it as from other stored logits.

    >>> from types import SimpleNamespace
    >>> from condense import GradientMatching, load, preset
    >>> from continual import CondensedBuffer, make_benchmark
    >>> buffer = CondensedBuffer(10, settings=preset(GradientMatching, "smoke"))
    >>> stream = make_benchmark([load("digits")]).train_stream
    >>> buffer.post_adapt(SimpleNamespace(device="cpu"), stream[0])
    >>> len(buffer.buffer)
    10
    """

    value_range = (-0.5, 1.5)

    def __init__(
        self,
        max_size: int = 0,
        *,
        method: str = "dsa",
        settings: Any = None,
        checkpointers: Callable[[ImageData], AbstractContextManager[Checkpointer]] | None = None,
        cache: Cache | None = None,
        **rest: Any,
    ) -> None:
        """Set the condensation method, and the arguments of `RehearsalBuffer`.

        Args:
            max_size: as in `RehearsalBuffer`.
            method: one of `condense.METHODS`.
            settings: settings of the method; their `ipc` is replaced by the share of a class.
                Default: `condensing_preset` with the paper preset on a GPU, else the cpu preset.
            checkpointers: returns the `Checkpointer` for the condensation of the given images;
                without it there are no checkpoints and no progress reports.
            cache: cache of condensed sets; None: no cache.
            rest: other arguments of `RehearsalBuffer`.

        Raises:
            UserError: if the method is unknown.
        """
        super().__init__(max_size, **rest)
        self.method = method
        # An unknown method raises here, before the first experience is trained on.
        soft_labels = method_named(method).soft_labels
        self.store_logits = self.store_logits and not soft_labels
        self.settings = check_condensing(settings)
        self.checkpointers = checkpointers
        self.cache = cache

    def select(self, strategy: Any, images: TaskImages, ipc: int) -> list[Exemplars]:
        """Condense the task's resized training images to `ipc` images per class."""
        data = images.data.to(strategy.device)
        if self.factor > 1:
            channels, height, _ = small_shape(data, self.factor)
            data = data.resized(height, channels)
        settings = self.settings
        if settings is None:
            settings = condensing_preset(self.method, preset_for(data.device.type), self.factor)
        with self.checkpointers(data) if self.checkpointers else Checkpointer() as checkpointer:
            condensed = condense(
                data,
                self.method,
                replace(settings, ipc=ipc),
                seed=self.seed,
                checkpointer=checkpointer,
                cache=self.cache,
            )
        logits = _soft_logits(condensed, images.classes)
        chosen = []
        for label in range(condensed.classes):
            rows = torch.where(condensed.hard_labels == label)[0]
            rows = rows[greedy_herding(condensed.images[rows].flatten(1), len(rows))]
            chosen.append(
                Exemplars(condensed.images[rows], None if logits is None else logits[rows])
            )
        return chosen


def _soft_logits(condensed: CondensedSet, classes: tuple[int, ...]) -> Tensor | None:
    """Soft labels as logits, float16 [n, classes so far]; NaN for classes of other tasks."""
    if condensed.labels.ndim == 1:
        return None
    known = torch.full((len(condensed.labels), max(classes) + 1), torch.nan, dtype=torch.float16)
    known[:, classes] = condensed.targets.log().half()
    return known
