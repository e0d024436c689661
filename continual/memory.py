"""Rehearsal buffers that hold condensed or selected images.

They are Avalanche `ExemplarsBuffer`s: they serve `EEIL`, and with a fixed total also
`ReplayPlugin(mem_size=N, storage_policy=buffer)` with any other strategy. What they hold is
ordered by rank within each class, so a smaller memory is the first images of a larger one.

The bytes of an image may be spent on more, smaller images (multi-formation, Kim et al. 2022): with
a formation of 2 a place for one image holds four of half its height and width. They are enlarged
when they are rehearsed. What a learner said of an image may be kept with it (dark experience
replay, Buzzega et al. 2020), and a soft label that was learnt for it is.
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
    CondensedSet,
    ImageData,
    Journal,
    UserError,
    condense,
    generator,
    greedy_herding,
    in_chunks,
    method_named,
    preset_for,
    resize,
)
from continual.samples import Samples, as_dataset, join
from continual.settings import condensing_preset
from continual.streams import TaskImages, images_of
from continual.tasks import small_shape


class Group(NamedTuple):
    """Whose images a memory keeps together."""

    experience: int
    task: int
    label: int


class Chosen(NamedTuple):
    """Images to keep of a class, best first."""

    images: Tensor
    """[n, c, h, w]: uint8, or float32 where 0 is black and 1 is white, which is kept as uint8 over
    the buffer's `span`. They are made smaller where they are not so small yet as the formation has
    it."""
    answers: Tensor | None = None
    """Scores of the classes so far [n, classes], where images come with them."""


class RehearsalBuffer(ExemplarsBuffer):  # type: ignore[misc]
    """Keeps the same number of images of every class of every experience.

    The base of the three below; a new one says in `choose` what to keep of a task's images.
    """

    follows_network = False
    """Whether what is kept depends on the learner, so that EEIL chooses again after stage 2."""
    span = (0.0, 1.0)
    """What 0 and 255 stand for: a pixel is kept as a byte, whatever it was."""

    def __init__(
        self,
        max_size: int = 0,
        *,
        images_per_class: int | None = None,
        formation: int = 1,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        mirror: bool = True,
        answers: bool = False,
        seed: int = 0,
    ) -> None:
        """Either a fixed total or a fixed number for each class.

        Args:
            max_size: a fixed total; each (experience, class) has an equal share, so that shares
                shrink as classes come.
            images_per_class: a fixed number for each (experience, class), and no limit in total;
                not for `ReplayPlugin`, which asks for a fixed total.
            formation: how many times smaller images are kept on a side; sizes count places for
                whole images, each of which holds formation² such images.
            mean: per channel, what the images of other people's experiences are normalised with;
                streams of this package know theirs.
            std: likewise.
            mirror: likewise whether a mirrored image still shows its class; not so with digits.
            answers: whether a learner that can (`EEIL`) is to remember with each image what it said
                of it, and to say so again (Buzzega et al. 2020).
            seed: of all that is drawn.
        """
        super().__init__(max_size)
        if max_size < 1 and images_per_class is None:
            raise UserError("a memory needs a size: max_size images in all, or images_per_class")
        if max_size and images_per_class is not None:
            raise UserError("a memory has one size: either max_size or images_per_class")
        if images_per_class is not None and images_per_class < 1:
            raise UserError(f"images per class must be at least 1, not {images_per_class}")
        if formation < 1:
            raise UserError(f"the formation must be at least 1, not {formation}")
        self.images_per_class = images_per_class
        self.formation = formation
        self.mean, self.std, self.mirror = mean, std, mirror
        self.answers = answers
        self.seed = seed
        self.groups: dict[Group, Samples] = {}
        """Each in the order of rank: what is dropped is dropped from the end."""

    @abstractmethod
    def choose(self, strategy: Any, images: TaskImages, ipc: int) -> list[Chosen]:
        """What to keep of each class of a task.

        Args:
            strategy: whose `model` may be looked at.
            images: what there is to choose from.
            ipc: how many images to keep of each class.
        """

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Keep images of this experience, in place of what was kept of it before."""
        number = int(exp.current_experience)
        tasks = images_of(exp, self.mean, self.std, self.mirror)
        mine = [Group(number, task.task, label) for task in tasks for label in task.classes]
        others = {group: kept for group, kept in self.groups.items() if group not in mine}
        ipc = self._share(len(others) + len(mine))
        groups = {group: kept[:ipc] for group, kept in others.items()}
        for task in tasks:
            small = small_shape(task.data, self.formation)
            chosen = self.choose(agent_state, task, ipc)
            for label, (images, answers) in zip(task.classes, chosen, strict=True):
                group = Group(number, task.task, label)
                kept = self._kept(resize(images, small[1:]), group, task.data)
                groups[group] = replace(kept, answers=answers)
        self.groups = groups  # all at once: who interrupts the choosing loses nothing
        self._refresh()

    def note_answers(self, exp: Any, answer: Callable[[Samples], Tensor]) -> None:
        """Keep what a learner says of the images of an experience: scores [n, classes so far].

        `buffer` stays as it is: Avalanche's datasets know nothing of answers.
        """
        number = int(exp.current_experience)
        for group, kept in self.groups.items():
            if group.experience == number:
                self.groups[group] = replace(kept, answers=answer(kept).half().cpu())

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """What `ReplayPlugin` calls; Avalanche's own version warns that it is deprecated."""
        self.post_adapt(strategy, strategy.experience)

    def resize(self, strategy: Any, new_size: int) -> None:
        """Set the total and drop what is beyond each class's share, by rank.

        What has been dropped does not come back when the memory grows again: the images that it
        was chosen from are gone.
        """
        self.max_size, self.images_per_class = new_size, None
        if self.groups:
            ipc = self._share(len(self.groups))
            self.groups = {group: kept[:ipc] for group, kept in self.groups.items()}
        self._refresh()

    @property
    def samples(self) -> Samples | None:
        """All that is kept, as tensors; None when that is nothing."""
        return join(list(self.groups.values())) if self.groups else None

    @property
    def bytes(self) -> int:
        """What the images and the answers take to store."""
        return sum(kept.bytes for kept in self.groups.values())

    def tensors(self) -> dict[str, Tensor]:
        """The images of each group by name, and the answers, for a checkpoint."""
        found: dict[str, Tensor] = {}
        for group, kept in self.groups.items():
            name = ".".join(map(str, group))
            found[name] = kept.images
            if kept.answers is not None:
                found[f"{name}.answers"] = kept.answers
        return found

    def restore(self, tensors: Mapping[str, Tensor], data: ImageData) -> None:
        """Put back what `tensors` gave, of images of the size and normalisation of `data`.

        Raises:
            ValueError: it is another memory's.
        """
        self.groups = {}
        for name, images in tensors.items():
            if not name.endswith(".answers"):
                group = Group(*map(int, name.split(".")))
                small = small_shape(data, self.formation)
                if images.dtype != torch.uint8 or images.shape[1:] != small:
                    raise ValueError(f"{name}: {images.dtype} {list(images.shape)} are no images")
                kept = self._kept(images, group, data)
                self.groups[group] = replace(kept, answers=tensors.get(f"{name}.answers"))
        self.groups = dict(sorted(self.groups.items()))
        self._refresh()

    def _kept(self, images: Tensor, group: Group, data: ImageData) -> Samples:
        if images.dtype != torch.uint8:
            lowest, highest = self.span
            coded = (images - lowest) * (255 / (highest - lowest))
            images = coded.round().clamp(0, 255).to(torch.uint8)
        labels, tasks = (torch.full((len(images),), value) for value in (group.label, group.task))
        mean, std, size = data.mean, data.std, data.shape[1:]
        return Samples(images.cpu(), labels, tasks, mean, std, size, self.span)

    def _share(self, groups: int) -> int:
        """The images of each class."""
        places = self.images_per_class or self.max_size // groups
        if places < 1:
            raise UserError(
                f"a memory of {self.max_size} images cannot hold {groups} classes: "
                f"give it at least {groups}"
            )
        return places * self.formation**2

    def _refresh(self) -> None:
        samples = self.samples
        if samples is not None:
            self.buffer: AvalancheDataset = as_dataset(samples)
        if self.images_per_class is not None:
            self.max_size = 0 if samples is None else len(samples) // self.formation**2


class RandomBuffer(RehearsalBuffer):
    """Keeps real images drawn at random; all of a class that has fewer than its share."""

    def choose(self, strategy: Any, images: TaskImages, ipc: int) -> list[Chosen]:
        """Draw `ipc` images of each class without replacement."""
        data = images.data
        draws = generator(self.seed, "random memory", data.fingerprint())
        rows = data.train_indices_by_class()
        drawn = [row[torch.randperm(len(row), generator=draws)[:ipc]] for row in rows]
        return [Chosen(data.x_train[row]) for row in drawn]


class HerdingBuffer(RehearsalBuffer):
    """Keeps the real images whose mean feature in the learner stays closest to their class's.

    As EEIL and iCaRL do, on features of length one (Rebuffi et al. 2017, Algorithm 4): what the
    learner's `model.features` gives. All are kept of a class that has fewer than its share.
    """

    follows_network = True

    def choose(self, strategy: Any, images: TaskImages, ipc: int) -> list[Chosen]:
        """Herd `ipc` images of each class in the features of `strategy.model`.

        Raises:
            UserError: where the model has no `features`.
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
        return [Chosen(data.x_train[row]) for row in herded]


class CondensedBuffer(RehearsalBuffer):
    """Keeps images condensed from each experience by any method of `condense`.

    A smaller share keeps, of each class, those images that come first in a herding order of the
    condensed images' pixels: the first k have nearly the mean of all.

    Their pixels leave the range of real ones a little, so that a byte spans more here.

    Avalanche rehearses hard labels, so an image is remembered as of the class that it was made for.
    A soft label that was learnt for it is kept beside that, in the place of an answer, and `EEIL`
    rehearses it as one.
    """

    span = (-0.5, 1.5)

    def __init__(
        self,
        max_size: int = 0,
        *,
        method: str = "dsa",
        settings: Any = None,
        journals: Callable[[ImageData], AbstractContextManager[Journal]] | None = None,
        cache: Cache | None = None,
        **rest: Any,
    ) -> None:
        """As `RehearsalBuffer`, and how to condense.

        Args:
            max_size: as there.
            method: one of `condense.METHODS`.
            settings: the method's, with any `ipc`: the share of a class is what counts. Where not
                given, `condensing_preset`'s: the paper's on a GPU, of the cpu preset elsewhere.
            journals: gives what is told how the condensing of these images gets on; nobody is
                where not given.
            cache: where sets that have been made before are looked up; none where not given.
            rest: the other arguments of `RehearsalBuffer`.

        Raises:
            UserError: for an unknown method.
        """
        super().__init__(max_size, **rest)
        self.method = method
        # An unknown method is better said now than after the first experience.
        soft_labels = method_named(method).soft_labels
        self.answers = self.answers and not soft_labels
        self.settings = settings
        self.journals = journals
        self.cache = cache

    def choose(self, strategy: Any, images: TaskImages, ipc: int) -> list[Chosen]:
        """Condense the task's training images, made small, to `ipc` for each class."""
        data = images.data.to(strategy.device)
        if self.formation > 1:
            channels, height, _ = small_shape(data, self.formation)
            data = data.resized(height, channels)
        settings = self.settings
        if settings is None:
            settings = condensing_preset(self.method, preset_for(data.device.type), self.formation)
        with self.journals(data) if self.journals else Journal() as journal:
            condensed = condense(
                data,
                self.method,
                replace(settings, ipc=ipc),
                seed=self.seed,
                journal=journal,
                cache=self.cache,
            )
        answers = _soft_answers(condensed, images.classes)
        chosen = []
        for label in range(condensed.classes):
            rows = torch.where(condensed.hard_labels == label)[0]
            rows = rows[greedy_herding(condensed.images[rows].flatten(1), len(rows))]
            chosen.append(
                Chosen(condensed.images[rows], None if answers is None else answers[rows])
            )
        return chosen


def _soft_answers(condensed: CondensedSet, classes: tuple[int, ...]) -> Tensor | None:
    """Soft labels as the scores of a learner that gives them, which knows no other classes."""
    if not condensed.labels.is_floating_point():
        return None
    known = torch.full((len(condensed.labels), max(classes) + 1), torch.nan, dtype=torch.float16)
    known[:, classes] = condensed.labels.log().half()
    return known
