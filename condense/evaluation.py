"""What a condensed set is worth: fresh networks trained on it, tested on real images (§4.1).

A set that was learnt together with learning rates is nothing without them: its networks are trained
with these, as in the paper that it comes from. So were those of DD in the paper's Table 1, which
takes its figures from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev

import torch
from torch import Tensor, nn

from condense.augment import check_strategy, default_strategy
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.ensembles import networks_at_once, train_together
from condense.footprint import forward_piece, training_piece
from condense.journal import Checkpoint, Journal
from condense.networks import build
from condense.parallel import worker_threads
from condense.presets import preset, preset_for
from condense.seeds import generator
from condense.settings import Evaluation
from condense.training import CHUNK, Schedule, in_chunks, train, train_at_rates


@dataclass(frozen=True)
class Accuracy:
    """Test accuracies of several networks, as fractions of one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)

    @property
    def std(self) -> float:
        """Their standard deviation, of a sample (n − 1); 0 for a single one."""
        return stdev(self.values) if len(self.values) > 1 else 0.0

    def __str__(self) -> str:
        if not self.values:
            return "not tested"
        return f"{100 * self.mean:.1f} ± {100 * self.std:.1f} % (n = {len(self.values)})"


def evaluate(
    condensed: CondensedSet,
    data: ImageData,
    settings: Evaluation | None = None,
    *,
    seed: int = 0,
    journal: Journal | None = None,
) -> Accuracy:
    """Train fresh networks on `condensed` and test each on the test split of `data`.

    On a set that has rates, networks are trained with these alone, and how else `settings` would
    have them trained does not matter; `replace(condensed, rates=None)` is a set without.

    Args:
        condensed: the training set.
        data: gives the test split; its device is the one that networks are trained on.
        settings: where not given, the paper's on a GPU and those of the cpu preset elsewhere.
        seed: each network's weights, order and augmentation follow from it and its number.
        journal: told of each network; an interrupted evaluation goes on from it, to the same bits.

    Raises:
        UserError: where the set is for other images, or a setting makes no sense.
    """
    settings = settings or preset(Evaluation, preset_for(data.device.type))
    condensed.check_fits(data)
    with worker_threads(data.device):
        return _evaluate(condensed, data, settings, seed, journal or Journal())


def _evaluate(
    condensed: CondensedSet, data: ImageData, settings: Evaluation, seed: int, journal: Journal
) -> Accuracy:
    strategy = _strategy(settings, data)
    images = condensed.normalised(data).to(data.device)
    like = build(settings.network, data.shape, data.classes)
    piece = training_piece(like, data.shape, data.device)
    batch = min(settings.batch, len(images))
    together = networks_at_once(like, data.shape, data.device, batch)
    before = journal.restore()
    values: list[float] = []
    if before:
        values = before.value("values", list[float], partial(_are_accuracies, settings.networks))
    for first in range(len(values), settings.networks, together):
        numbers = range(first, min(first + together, settings.networks))
        draws = [generator(seed, "evaluation", number) for number in numbers]
        networks = _trained(condensed, images, data, settings, strategy, draws, piece)
        for number, network in zip(numbers, networks, strict=True):
            values.append(test_accuracy(network, data, forward_piece(piece)))
            journal.report(number + 1, settings.networks, accuracy=values[-1])
        # After the whole group: others beside it would round a network otherwise.
        journal.save(Checkpoint({}, {"values": list(values)}))
    return Accuracy(tuple(values))


def test_accuracy(
    network: nn.Module,
    data: ImageData,
    chunk: int = CHUNK,  # noqa: PT028 - it is no test
) -> float:
    """The fraction of the test split of `data` that `network` names rightly, `chunk` at a time."""
    network.eval()
    predicted = in_chunks(
        lambda images: network(data.normalise(images)).argmax(1), data.x_test, chunk
    )
    return int((predicted == data.y_test).sum()) / len(data.y_test)


def _trained(
    condensed: CondensedSet,
    images: Tensor,
    data: ImageData,
    settings: Evaluation,
    strategy: tuple[str, ...],
    draws: Sequence[torch.Generator],
    piece: int | None,
) -> list[nn.Module]:
    """A fresh network for each generator, trained on `images`, which are those of the set."""
    network = settings.network
    networks: list[nn.Module] = [
        build(network, data.shape, data.classes, own).to(data.device) for own in draws
    ]
    labels = condensed.labels.to(data.device)
    if condensed.rates is not None:
        for each in networks:
            train_at_rates(each, images, labels, condensed.classes, condensed.rates)
        return networks
    schedule = Schedule.of_epochs(
        settings.epochs or (1000 if strategy else 300),
        len(images),
        settings.batch,
        lr=settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        drops=(0.5,),
    )
    alike = settings.augment == "siamese"
    if len(networks) > 1:
        train_together(networks, images, labels, schedule, draws, strategy=strategy, shared=alike)
    else:
        train(
            networks[0],
            images,
            labels,
            schedule,
            draws[0],
            strategy=strategy,
            shared=alike,
            piece=piece,
        )
    return networks


def _are_accuracies(most: int, values: list[float]) -> bool:
    return len(values) <= most and all(0 <= value <= 1 for value in values)


def _strategy(settings: Evaluation, data: ImageData) -> tuple[str, ...]:
    if settings.augment == "none":
        return ()
    strategy = settings.strategy or default_strategy(data.mirror)
    check_strategy(strategy)
    return strategy
