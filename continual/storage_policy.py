"""The base class of the replay buffers.

They are Avalanche `ExemplarsBuffer`s for `EEIL`. With a fixed total they also work in
`ReplayPlugin(mem_size=N, storage_policy=buffer)` with any other strategy. The exemplars of a class
are sorted by rank, so a smaller memory is the first images of a larger one.

Sizes count whole images of 8 bits per number. A storage of `condense` keeps more images in these
bytes: with factor 2, four of half the height and width replace one (IDC, Kim et al. 2022).
Logits of the network can be stored with an image (DER, Buzzega et al. 2020); learnt soft labels
are always stored. The size does not count their bytes; `bytes` does.
"""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Unpack, get_args

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.storage_policy import ExemplarsBuffer
from torch import Tensor

from condense import (
    Codec,
    Coreset,
    ImageData,
    UserError,
    codec_of,
    generator,
    pixel_codec,
    read_codec,
    unknown,
)
from continual.buffer_arguments import ImageKwargs, check_known, checked_size, per_channel
from continual.exemplars import ItemFormat, LazyBuffer, Samples, as_dataset
from continual.experience_numbers import ExperienceNumbers
from continual.groups import (
    Group,
    require_shape,
    table_bytes,
    table_share,
    whole_bytes,
    with_shared_codecs,
)
from continual.loading import network_logits
from continual.settings import Storage
from continual.shares import Demand, divide
from continual.stored import StoredExemplars, joined_logits
from continual.streams import TaskImages, images_of, items_of

ITEMS, NUMBERS = "items", "experiences"
"""In a `state_dict`: the two flags of `ItemFormat`, in its dtype; `ExperienceNumbers.given`."""


class RehearsalBuffer(ExemplarsBuffer):  # type: ignore[misc]
    """Divides its bytes equally among classes, or gives each class of each experience the same.

    Base class of the buffers; a subclass implements `select`.
    """

    follows_network = False
    """Whether `select` depends on the network; if so, EEIL selects again after stage 2."""

    def __init__(
        self,
        max_size: int = 0,
        *,
        images_per_class: int | None = None,
        storage: Storage = "pixels",
        factor: int = 1,
        balance: Literal["class", "experience"] = "class",
        store_logits: bool = False,
        seed: int = 0,
        **images: Unpack[ImageKwargs],
    ) -> None:
        """Set either a fixed total or a fixed number per class.

        Args:
            max_size: fixed total in whole images. Groups become smaller with each experience; with
                storage dct by fewer bits per image first. If there are more groups than images, a
                random choice of them remains.
            images_per_class: whole images per class of each experience, without a limit of the
                total; not for `ReplayPlugin`, which needs a fixed total.
            storage: how images are stored, as in `condense`. dct keeps the most images.
            factor: divides the height and width of stored images.
            balance: what has equal shares of the total: each class, in which its experiences have
                equal shares, or each experience, in which its classes have equal shares.
            store_logits: whether the logits of the network are stored with each image, and `EEIL`
                distils from them (Buzzega et al. 2020).
            seed: seed of all random numbers.
            images: `mean`, `std` and `hflip` of the experiences' images (`ImageKwargs`).

        Raises:
            UserError: if not exactly one size is given, or a value is not possible.
            TypeError: an argument is unknown, or a size or the seed is no integer.
        """
        check_known(type(self).__name__, images)
        max_size, images_per_class = checked_size(max_size, images_per_class)
        if storage not in get_args(Storage):
            raise unknown("storage", storage, get_args(Storage))
        if balance not in ("class", "experience"):
            raise UserError(f"balance must be class or experience, not {balance!r}")
        self.storage, self.factor = storage, factor
        self.coreset(1)  # checks them
        self.images_per_class = images_per_class
        self.balance = balance
        self.mean, self.std = (
            per_channel(name, values)
            for name, values in (("mean", images.get("mean")), ("std", images.get("std")))
        )
        self.hflip = images.get("hflip", True)
        self.store_logits = store_logits
        self.seed = operator.index(seed)
        self.groups: dict[Group, StoredExemplars] = {}
        """Sorted by rank within each group; images are removed from the end."""
        self._items = ItemFormat()
        self._numbers = ExperienceNumbers()
        self._dataset: AvalancheDataset | None = None
        super().__init__(max_size)

    @abstractmethod
    def select(
        self, strategy: Any, images: TaskImages, images_per_class: int
    ) -> list[StoredExemplars]:
        """Select or make the exemplars of each class of a task.

        Args:
            strategy: the strategy; its `model` may be used.
            images: the training images of the task.
            images_per_class: whole images, whose bytes the exemplars of a class may fill.
        """

    def post_adapt(self, agent_state: Any, exp: Any) -> None:
        """Store exemplars of this experience; replaces earlier exemplars of it.

        Raises:
            UserError: as `images_of` and `items_of`, or the images have another shape than those
                in the memory.
        """
        tasks = images_of(exp, self.mean, self.std, self.hflip)
        require_shape(self.groups, [task.data.shape for task in tasks])
        items = items_of(exp)
        number = self._numbers.of(exp)
        mine = {
            Group(number, task.task, label): self._whole_images(task.data, count)
            for task in tasks
            for label, count in zip(task.classes, task.data.train_counts.tolist(), strict=True)
        }
        groups = {group: kept for group, kept in self.groups.items() if group not in mine}
        images_per_class = self._new_images_per_class(groups, mine)
        for task in tasks:
            chosen = self.select(agent_state, task, images_per_class)
            keys = (Group(number, task.task, label) for label in task.classes)
            groups.update(zip(keys, chosen, strict=True))
        self._items = items
        self._keep(groups)  # at the end: an interrupted selection loses nothing

    def update_logits(self, exp: Any, logits_of: Callable[[Samples], Tensor]) -> None:
        """Store logits of the exemplars of an experience; `logits_of` returns [n, classes]."""
        number = self._numbers.of(exp)
        for group, kept in self.groups.items():
            if group.experience == number:
                logits = logits_of(self._samples([group])).half().cpu()
                self.groups[group] = replace(kept, logits=logits)
        self._dataset = None

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """Called by Avalanche's plugins and strategies. With `store_logits`, as for `DER`, the
        logits of the network are stored too."""
        self.post_adapt(strategy, strategy.experience)
        if self.store_logits:
            model, device = strategy.model, strategy.device
            self.update_logits(
                strategy.experience, lambda kept: network_logits(model, kept.to(device))
            )

    def resize(self, strategy: Any, new_size: int) -> None:
        """Set the total and remove the lowest-ranked images beyond each share.

        Removed images do not come back when the memory grows again: their experience's data are no
        longer available.
        """
        self.images_per_class, self.max_size = None, new_size
        self._keep(self.groups)

    @property
    def max_size(self) -> int:
        """The total in whole images.

        Raises:
            UserError: the buffer has a fixed number per class instead.
        """
        if self.images_per_class is not None:
            raise UserError(
                "a buffer with images_per_class has no fixed total, which ReplayPlugin needs: "
                "give max_size instead"
            )
        return self._max_size

    @max_size.setter
    def max_size(self, total: int) -> None:
        self._max_size = total

    @property
    def samples(self) -> Samples | None:
        """All exemplars, decoded; None if the memory is empty."""
        return self._samples(self.groups) if self.groups else None

    @property
    def buffer(self) -> AvalancheDataset:
        """All exemplars as (normalised image, label, task label), the last as in the experiences.

        With `store_logits` the logits are the last entry. It is made at the first access.
        """
        if self._dataset is None:
            self._dataset = self._as_dataset(self.groups) if self.groups else AvalancheDataset([])
        return self._dataset

    def _as_dataset(self, groups: Sequence[Group] | Mapping[Group, Any]) -> AvalancheDataset:
        samples = self._samples(groups)
        if not self.store_logits:  # learnt soft labels are for `samples`
            samples = replace(samples, logits=None)
        return as_dataset(samples, self._items)

    @property
    def buffer_groups(self) -> dict[int, LazyBuffer]:
        """By class, an object whose `buffer` has its exemplars, as Avalanche's buffers have it."""
        mine: dict[int, list[Group]] = {}
        for group in self.groups:
            mine.setdefault(group.label, []).append(group)
        return {label: LazyBuffer(partial(self._as_dataset, mine[label])) for label in mine}

    @property
    def buffer_datasets(self) -> list[AvalancheDataset]:
        """The exemplars of each class, as Avalanche's buffers have them."""
        return [group.buffer for group in self.buffer_groups.values()]

    def __getstate__(self) -> dict[str, Any]:
        """A copy decodes its images again: pickled, they would be many times the memory."""
        return {**self.__dict__, "_dataset": None}

    @property
    def bytes(self) -> int:
        """Bytes of the images, the logits, and the tables of the storage."""
        return sum(kept.bytes for kept in self.groups.values()) + table_bytes(self.groups)

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of each group by name, and those that `ITEMS` and `NUMBERS` name."""
        tensors = {
            f"{'.'.join(map(str, group))}/{name}": tensor
            for group, kept in self.groups.items()
            for name, tensor in kept.state_dict().items()
        }
        items = self._items
        flags = torch.tensor([items.task_labels, items.tensor_labels]).to(items.dtype)
        numbers = torch.tensor(sorted(self._numbers.given), dtype=torch.int64)
        return {**tensors, ITEMS: flags, NUMBERS: numbers}

    def load_state_dict(self, state_dict: Mapping[str, Tensor], data: ImageData) -> None:
        """Load a `state_dict` of images with the size and normalisation of `data`.

        Raises:
            ValueError, KeyError, UserError: if the tensors do not match this memory.
        """
        tensors = dict(state_dict)
        items = tensors.pop(ITEMS)
        task_labels, tensor_labels = items.bool().tolist()
        numbers = tensors.pop(NUMBERS)
        parts: dict[Group, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            key, _, rest = name.partition("/")
            parts.setdefault(Group(*map(int, key.split("."))), {})[rest] = tensor
        loaded = {group: self._loaded(parts[group], data) for group in sorted(parts)}
        self.groups = with_shared_codecs(loaded)
        self._items = ItemFormat(task_labels, tensor_labels, items.dtype)
        self._numbers.given.update(numbers.tolist())
        self._dataset = None

    def _loaded(self, packed: dict[str, Tensor], data: ImageData) -> StoredExemplars:
        logits = packed.pop("logits", None)
        storage = self.storage
        if storage == "dct" and "coefficients" not in packed:
            storage = "pixels"  # where as many whole images fitted
        entries = {"storage": storage, "shape": str(list(data.shape))}
        entries["factor"] = str(self.factor)
        codec = read_codec(entries, packed, data.mean, data.std)
        codec.unpack(packed)  # checks them
        return StoredExemplars(codec, packed, logits)

    def _samples(self, groups: Sequence[Group] | Mapping[Group, Any]) -> Samples:
        """The exemplars of these groups, decoded."""
        parts = [self.groups[group] for group in groups]
        sizes = torch.tensor([len(part) for part in parts])
        labels, tasks = (
            torch.tensor([getattr(group, name) for group in groups]).repeat_interleave(sizes)
            for name in ("label", "task")
        )
        mean, std = parts[0].codec.normalisation
        images = torch.cat([part.pixels(parts[0].codec) for part in parts])
        return Samples(images, labels, tasks, mean, std, joined_logits(parts))

    def coreset(self, images_per_class: int) -> Coreset:
        """Settings of `condense` that store real images in the bytes of so many whole images."""
        return Coreset(ipc=images_per_class, storage=self.storage, factor=self.factor)

    def _new_images_per_class(
        self, groups: Mapping[Group, StoredExemplars], mine: Mapping[Group, int]
    ) -> int:
        """Whole images per class of a new experience, rounded up; `_keep` removes the rest.

        Args:
            groups: the others.
            mine: the groups of the experience, and how many whole images they fill at most. The
                largest share counts: a class that earlier experiences have too has a smaller one,
                and one has what small classes leave.
        """
        if self.images_per_class is not None:
            return self.images_per_class
        owners = Counter(map(self._owner, [*groups, *mine]))
        sharing = min(owners[self._owner(group)] for group in mine)
        equal = math.ceil(self.max_size / (len(owners) * sharing))
        filled = {**mine, **{group: kept.whole_images for group, kept in groups.items()}}
        demands = {
            group: Demand(self._owner(group), count, 1, number)
            for number, (group, count) in enumerate(filled.items())
        }
        counts = divide(self.max_size, demands)
        return max(1, equal, *(counts[group] for group in mine))

    def _whole_images(self, data: ImageData, count: int) -> int:
        """How many whole images so many images fill at most."""
        if self.storage == "dct":  # fewer images are better ones
            return count
        size = codec_of(data, self.coreset(1)).bytes_per_image
        return -(-count * size // math.prod(data.shape))

    def _keep(self, groups: dict[Group, StoredExemplars]) -> None:
        """Keep the best images of each group, as many as fit."""
        self._dataset = None
        groups = with_shared_codecs(groups)
        if self.images_per_class is not None or not groups:
            self.groups = groups
            return
        groups = self._recoded(groups)
        counts = self._divided(groups)
        left = {group: kept[: counts[group]] for group, kept in groups.items() if counts[group]}
        self.groups = with_shared_codecs(left)

    def _divided(self, groups: dict[Group, StoredExemplars]) -> dict[Group, int]:
        """Number of images of each group that fit."""
        users = Counter(kept.codec for kept in groups.values())
        demands = {
            group: Demand(
                self._owner(group),
                len(kept),
                kept.codec.bytes_per_image,
                float(torch.rand((), generator=generator(self.seed, "place", *group))),
                table_share(kept.codec, users),
            )
            for group, kept in groups.items()
        }
        return divide(self.max_size * whole_bytes(groups), demands)

    def _recoded(self, groups: dict[Group, StoredExemplars]) -> dict[Group, StoredExemplars]:
        """The exemplars with smaller images, where the storage has such, before any is removed.

        All groups of a codec keep one codec, chosen for the group with the fewest bytes per image.
        Without the table of the storage, if as many whole images of all these groups fit.
        """
        owners = Counter(map(self._owner, groups))
        whole = whole_bytes(groups)
        users, counts = Counter(kept.codec for kept in groups.values()), self._divided(groups)
        shares: dict[Codec, list[tuple[int, int]]] = {}  # and the images, of each group
        for group, kept in groups.items():
            share = self.max_size * whole // (len(owners) * owners[self._owner(group)])
            table, size = table_share(kept.codec, users), kept.codec.bytes_per_image
            if table + counts[group] * size >= share + size:  # what small groups leave
                share = table + counts[group] * size
            shares.setdefault(kept.codec, []).append((share, len(kept)))
        codecs: dict[Codec, Codec] = {}
        for codec, sizes in shares.items():
            table = table_share(codec, users)
            left = [(max(0, share - table), n) for share, n in sizes]
            smaller = codec.smaller(min(size // n for size, n in left))
            fitting = sum(min(n, size // smaller.bytes_per_image) for size, n in left)
            if codec.table_bytes and fitting <= sum(min(n, share // whole) for share, n in sizes):
                smaller = pixel_codec("pixels", codec.shape, *codec.normalisation)
            codecs[codec] = smaller
        return {group: kept.recoded(codecs[kept.codec]) for group, kept in groups.items()}

    def _owner(self, group: Group) -> tuple[int, ...]:
        # A label of another task is another class.
        return (group.task, group.label) if self.balance == "class" else (group.experience,)
