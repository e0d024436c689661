"""Evaluation of a condensed set: new networks trained on it, tested on real images (§4.1).

If a set has learnt learning rates (DD), networks are trained with these, as in the paper of DD.
The DD results in Table 1 of the DSA paper are copied from there, so they use the same procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor, nn

from condense.augment import dc
from condense.augment.params import augment_batches, chosen_strategy
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.presets import given_or_preset, preset_for
from condense.config.presets import preset as preset_of
from condense.data.image_data import ImageData
from condense.data.image_tensors import sha256
from condense.data.loading import as_image_data
from condense.errors import UserError
from condense.models.build import Classifier, build
from condense.runs.cache import cache_key
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer, OwnCheckpoints
from condense.runs.report import per_cent
from condense.seeds import generator
from condense.system.allocator import freed_memory_kept
from condense.system.notes import note
from condense.system.plain_torch import plain_torch
from condense.training.chunking import chunks, max_forward_batch, max_training_batch
from condense.training.ensembles import divided_networks, max_networks, train_together
from condense.training.loop import (
    CHUNK_SIZE,
    Step,
    all_finite,
    evaluation_mode,
    in_chunks,
    train,
    train_with_lrs,
)
from condense.training.ranks import share, world_size
from condense.training.schedule import Schedule
from condense.training.threads import worker_threads
from condense.validation import at_least, require_class

Augmentation = Callable[[Tensor, Sequence[torch.Generator]], Tensor]
"""(batches [m, n, c, h, w], a generator for each) -> augmented batches."""


@dataclass(frozen=True)
class Accuracy:
    """Test accuracies of several networks, from 0 to 1."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return fmean(self.values)

    @property
    def std(self) -> float:
        """The sample standard deviation (n − 1); 0 for one network."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def figure(self) -> str:
        """The mean in per cent, of several networks with the standard deviation."""
        return per_cent(self.mean, self.std if len(self.values) > 1 else None)

    def __str__(self) -> str:
        if not self.values:
            return "not tested"
        return f"{self.figure} (n = {len(self.values)})"


@freed_memory_kept()
@plain_torch()
def evaluate(
    condensed: CondensedSet,
    data: ImageData | str | Path,
    settings: Evaluation | None = None,
    *,
    preset: str = "auto",
    seed: int = 0,
    checkpointer: Checkpointer | None = None,
    **changes: Any,
) -> Accuracy:
    """Train new networks on `condensed` and test each on the test split of `data`.

    If the set has `distill_lrs`, networks are trained with these, and the training settings in
    `settings` are ignored; `replace(condensed, distill_lrs=None)` is a set without them.

    Args:
        condensed: the training set.
        data: gives the test split, or what `load` takes; networks are trained on its device.
        settings: of the training and the test, instead of `preset` and `changes`.
        preset: paper, cpu or smoke; auto is paper if `data` is on a GPU, else cpu.
        seed: weights, order and augmentation of a network depend on the seed and its index.
        checkpointer: receives progress and checkpoints; an interrupted evaluation resumes from it
            and gives bit-identical results.
        changes: single settings on top of the preset: `num_eval=5, steps=2500`.

    >>> from condense import condense, evaluate, load
    >>> data = load("digits")
    >>> small = condense(data, "random", ipc=2)
    >>> accuracy = evaluate(small, data, preset="smoke", num_eval=3)
    >>> len(accuracy.values), 0 < accuracy.mean < 1
    (3, True)

    Raises:
        UserError: the set does not fit `data`, there are no test images, or an argument is invalid.
    """
    require_class("condensed", condensed, CondensedSet)
    data = as_image_data(data)
    _require_test_images(data)
    of_preset = partial(preset_of, Evaluation, preset_for(data.device.type, preset))
    settings = given_or_preset(settings, of_preset, changes)
    require_class("settings", settings, Evaluation)
    at_least(1, settings, "num_eval")
    condensed.check_fits(data)
    if checkpointer is None:
        checkpointer = Checkpointer()
    else:
        checkpointer = OwnCheckpoints(checkpointer, _key(condensed, data, settings, seed))
    with worker_threads(data.device):
        return _evaluate(condensed, data, settings, seed, checkpointer)


def _key(condensed: CondensedSet, data: ImageData, settings: Evaluation, seed: int) -> str:
    """A hash of what the accuracy of each network depends on: not on how many there are."""
    images = sha256(data.x_test, data.y_test, data.fingerprint(), condensed.fingerprint())
    return cache_key(images, "evaluate", replace(settings, num_eval=0), seed)


def _evaluate(
    condensed: CondensedSet,
    data: ImageData,
    settings: Evaluation,
    seed: int,
    checkpointer: Checkpointer,
) -> Accuracy:
    augment = _augmentation(settings, data)
    images = condensed.normalised(data).to(data.device)
    like = build(settings.network, data.shape, data.classes, device="meta")
    max_batch = max_training_batch(like, data.shape, data.device)
    batch_size = min(settings.batch_size, len(images))
    fitting = max_networks(like, data.shape, data.device, batch_size)
    # Of all networks, not of those still to be tested: a resumed evaluation has the same groups.
    together = divided_networks(settings.num_eval, fitting, data.device)
    before = checkpointer.restore()
    values: list[float] = []
    if before:
        values = before.value("values", list[float], _are_accuracies)[: settings.num_eval]

    def tested(numbers: range) -> Tensor:
        # [networks, 2]: the accuracy, and 1 for a network that diverged.
        draws = [generator(seed, "evaluation", number) for number in numbers]
        networks = _trained(condensed, images, data, settings, augment, draws, max_batch)
        chunk_size = max_forward_batch(max_batch)
        found = [
            (test_accuracy(network, data, chunk_size), not all_finite(network))
            for network in networks
        ]
        return torch.tensor(found, dtype=torch.float64)

    new, diverged = settings.num_eval - len(values), 0
    firsts = range(len(values), settings.num_eval, together)
    groups = [range(first, min(first + together, settings.num_eval)) for first in firsts]
    for part in chunks(len(groups), world_size()):
        for found in share(partial(map, tested), groups[part]):
            for accuracy, lost in found.tolist():
                values.append(accuracy)
                diverged += int(lost)
                checkpointer.report(len(values), settings.num_eval, accuracy=accuracy)
        # Only after all networks that are trained together: others would round differently.
        checkpointer.save(Checkpoint({}, {"values": list(values)}))
    if diverged:
        note(f"{diverged} of {new} networks diverged in training: use a lower learning rate")
    return Accuracy(tuple(values))


@plain_torch()
def test_accuracy(
    network: nn.Module,
    data: ImageData,
    chunk_size: int = CHUNK_SIZE,  # noqa: PT028 - not a test
) -> float:
    """Accuracy of `network` on the test split of `data`, in chunks of `chunk_size` images.

    It is tested in evaluation mode; afterwards each of its modules is in the mode it was in.

    Raises:
        UserError: there are no test images, or the network has not one output for each.
    """
    _require_test_images(data)
    with evaluation_mode(network):
        predicted = in_chunks(
            lambda images: network(data.normalise(images)).argmax(1), data.x_test, chunk_size
        )
    if predicted.shape != data.y_test.shape:
        raise UserError(f"a network has {len(predicted)} outputs for {len(data.y_test)} images")
    return int((predicted == data.y_test).sum()) / len(data.y_test)


def _require_test_images(data: ImageData) -> None:
    if not len(data.y_test):
        raise UserError(f"{data.name} has no test images")


def _trained(
    condensed: CondensedSet,
    images: Tensor,
    data: ImageData,
    settings: Evaluation,
    augment: Augmentation | None,
    draws: Sequence[torch.Generator],
    max_batch: int | None,
) -> list[Classifier]:
    """A new network for each generator, trained on `images`, the normalised images of the set."""
    networks = [
        build(settings.network, data.shape, data.classes, own, device=data.device) for own in draws
    ]
    labels = condensed.targets.to(data.device)
    if condensed.distill_lrs is not None:
        for network in networks:
            train_with_lrs(network, images, labels, condensed.classes, condensed.distill_lrs)
        return networks
    schedule = schedule_of(settings, len(images), augmented=augment is not None)
    if len(networks) > 1:
        together = None if augment is None else lambda batches: augment(batches, draws)
        train_together(networks, images, labels, schedule, draws, together)
    else:
        transform = None if augment is None else lambda batch: augment(batch[None], draws)[0]
        step = Step(networks[0], max_batch)
        train(networks[0], images, labels, schedule, draws[0], transform=transform, step=step)
    return networks


def schedule_of(settings: Evaluation, images: int, augmented: bool) -> Schedule:
    """The training schedule on a set of `images` images."""
    schedule = Schedule.of_epochs(
        settings.num_epochs(augmented),
        images,
        settings.batch_size,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        milestones=(0.5,),
        cosine=settings.lr_schedule == "cosine",
    )
    return schedule if settings.steps is None else replace(schedule, steps=settings.steps)


def _are_accuracies(values: list[float]) -> bool:
    return all(0 <= value <= 1 for value in values)


def _augmentation(settings: Evaluation, data: ImageData) -> Augmentation | None:
    used = settings.augment in ("siamese", "independent")
    strategy = chosen_strategy(settings.dsa_strategy, data.hflip, used=used)
    if settings.augment == "none":
        return None
    if settings.augment == "dc":
        return dc.augment_batches
    shared = settings.augment == "siamese"
    return partial(augment_batches, strategy=strategy, shared=shared)
