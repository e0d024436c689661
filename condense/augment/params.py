"""ω: sampling the parameters of the augmentation, and applying them (paper, §3.2).

Parameters consist of one operation for each group of images, and uniform random numbers. In
Siamese augmentation all images of a group share one row of numbers, and the real and the synthetic
images of a class use the same parameters; otherwise each image has its own row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from condense.augment.operations import NUMBERS, OPERATIONS
from condense.errors import UserError, unknown
from condense.system.notes import note


def default_strategy(hflip: bool) -> tuple[str, ...]:
    """All six operations; without flip if a mirrored image has another meaning, as for digits."""
    return tuple(name for name in OPERATIONS if hflip or name != "flip")


def check_strategy(strategy: tuple[str, ...]) -> None:
    """Check that there is at least one operation, and that all are known.

    Raises:
        UserError: otherwise.
    """
    if isinstance(strategy, str):
        raise UserError(
            "an augmentation strategy is a tuple of names, as ('color', 'crop'), not the text "
            f"{strategy!r}"
        )
    if not strategy:
        raise UserError(f"an augmentation strategy names one or more of: {', '.join(OPERATIONS)}")
    for name in strategy:
        if name not in OPERATIONS:
            raise unknown("augmentation", name, OPERATIONS)


def chosen_strategy(given: tuple[str, ...], hflip: bool, *, used: bool) -> tuple[str, ...]:
    """The operations of the setting `dsa_strategy`; if it has none, those of `default_strategy`.

    Args:
        given: the setting.
        hflip: whether a mirrored image has the same meaning.
        used: whether the other settings augment with a strategy; if not, a note says so.

    Raises:
        UserError: an operation is unknown.
    """
    strategy = given or default_strategy(hflip)
    check_strategy(strategy)
    if given and not used:
        note(f"dsa-strategy {' '.join(given)} has no effect: these images are not augmented so")
    return strategy


@dataclass(frozen=True, eq=False)
class AugmentParams:
    """One sample of ω for `len(operations)` groups of images."""

    operations: tuple[str, ...]
    numbers: Tensor
    """Uniform in [0, 1), [groups, images or 1, NUMBERS]; 1 if a group shares its numbers."""

    def __getitem__(self, groups: slice) -> AugmentParams:
        """The parameters of some of the groups."""
        return AugmentParams(self.operations[groups], self.numbers[groups])

    def apply(self, groups: Sequence[Tensor] | Tensor) -> list[Tensor]:
        """A_ω of the images [n, c, h, w] of each group; differentiable in them."""
        numbers = self.numbers.to(groups[0].device)
        return [
            _augmented(name, images, row[: len(images)])
            for name, images, row in zip(self.operations, groups, numbers, strict=True)
        ]


def sample_params(
    strategy: tuple[str, ...], generator: torch.Generator, *, groups: int = 1, images: int = 1
) -> AugmentParams:
    """Sample one operation per group, and numbers for `images` images per group (1: shared).

    Raises:
        UserError: the strategy is not a tuple of known operations.
    """
    check_strategy(strategy)
    on = generator.device
    chosen = torch.randint(len(strategy), (groups,), generator=generator, device=on)
    size = (groups, images, NUMBERS)
    numbers = torch.rand(size, generator=generator, dtype=torch.float32, device=on)
    return AugmentParams(tuple(strategy[index] for index in chosen.tolist()), numbers)


def augment_batch(
    images: Tensor, strategy: tuple[str, ...], generator: torch.Generator, *, shared: bool = False
) -> Tensor:
    """Augment `images` [n, c, h, w]: one operation, numbers per image or `shared`.

    Raises:
        UserError: the strategy is not a tuple of known operations.
    """
    count = 1 if shared else len(images)
    return sample_params(strategy, generator, images=count).apply([images])[0]


def augment_batches(
    batches: Tensor,
    generators: Sequence[torch.Generator],
    strategy: tuple[str, ...],
    *,
    shared: bool = False,
) -> Tensor:
    """`augment_batch` for each of `batches` [m, n, c, h, w], each with its own generator.

    An operation is called once for all batches that use it.
    """
    count = batches.shape[1]
    rows = 1 if shared else count
    drawn = [sample_params(strategy, own, images=rows) for own in generators]
    numbers = torch.cat([one.numbers for one in drawn]).to(batches.device)
    numbers = numbers.expand(-1, count, -1)
    out = list(batches)
    for name in dict.fromkeys(strategy):
        mine = [index for index, one in enumerate(drawn) if one.operations == (name,)]
        if not mine:
            continue
        images = torch.cat([batches[index] for index in mine])
        made = _augmented(name, images, torch.cat([numbers[index] for index in mine]))
        for index, batch in zip(mine, made.split(count), strict=True):
            out[index] = batch
    return torch.stack(out)


def _augmented(name: str, images: Tensor, numbers: Tensor) -> Tensor:
    """One operation, in float32 for images of fewer bits: there the numbers have few values, and
    are rounded to 1, which is out of their range."""
    kind = torch.promote_types(images.dtype, numbers.dtype)
    return OPERATIONS[name](images.to(kind), numbers.to(kind)).to(images.dtype)
