"""Coresets: real images selected from the training split."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset, MethodSettings
from condense.data.image_data import ImageData
from condense.data.labels import listed
from condense.errors import UserError
from condense.methods.real_batches import real_rows
from condense.models.build import Classifier, build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.storage.capacity import codec_of, images_per_class, stored_set
from condense.storage.codecs import Codec
from condense.training.chunking import max_forward_batch, max_training_batch
from condense.training.loop import all_finite, in_chunks
from condense.training.schedule import Schedule
from condense.training.threads import worker_threads
from condense.training.training_split import train_on_split

NO_GRADIENT = "the cross-entropy over one class has no gradient"
"""Why most methods that train networks need several classes."""


def random_coreset(
    data: ImageData, settings: Coreset, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """Random images of each class."""
    return set_of_rows(data, select_randomly(data, coreset_size(data, settings), seed), settings)


def herding_coreset(
    data: ImageData, settings: Coreset, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """Images whose mean feature is closest to the mean of their class (Chen et al. 2010)."""
    count = coreset_size(data, settings)
    return set_of_rows(data, herd(data, settings, count, seed, checkpointer), settings)


def coreset_size(data: ImageData, settings: MethodSettings) -> int:
    """Images per class of a coreset: as many as fit into the bytes, and as every class has.

    Raises:
        UserError: a class has fewer than `settings.ipc` images.
    """
    require_images(data, settings.ipc)
    return min(images_per_class(data, settings), int(data.train_counts.min()))


def select_randomly(data: ImageData, count: int, seed: int) -> Tensor:
    """Rows of the training split, [classes, count], sampled without replacement in each class.

    Those of a class with fewer than `count` images are repeated.
    """
    require_images(data, 1)
    rows = real_rows(data, count, generator(seed, "random"))
    return torch.stack([repeated(row, count) for row in rows])


def herd(
    data: ImageData,
    settings: Coreset,
    count: int,
    seed: int,
    checkpointer: Checkpointer | None = None,
) -> Tensor:
    """Rows of the training split, [classes, count], in the order selected by herding.

    The mean feature of the images as they are stored approaches that of the real images. Rows of a
    class with fewer than `count` images are repeated. The checkpointer receives the progress of the
    training of the feature network.
    """
    require_images(data, 1)
    with worker_threads(data.device):
        network = feature_network(data, settings, seed, checkpointer or Checkpointer())
        return _herd(data, settings, count, network)


def _herd(data: ImageData, settings: Coreset, count: int, network: Classifier) -> Tensor:
    codec = None if settings.lossless else codec_of(data, settings)
    chunk_size = max_forward_batch(max_training_batch(network, data.shape, data.device))

    def features(images: Tensor, codec: Codec | None = None) -> Tensor:
        images = data.normalise(images)
        seen = images if codec is None else codec.decode(codec.encode(images))
        found: Tensor = network.features(seen)
        return F.normalize(found)

    selected = []
    for rows in data.train_indices_by_class():
        images = data.x_train[rows]
        found = in_chunks(features, images, chunk_size)
        # Networks learn from the decoded images, which stand for the real ones.
        seen = in_chunks(partial(features, codec=codec), images, chunk_size) if codec else found
        chosen = greedy_herding(seen, min(count, len(seen)), found.mean(0))
        selected.append(repeated(rows[chosen], count))
    return torch.stack(selected)


def greedy_herding(features: Tensor, count: int, mean: Tensor | None = None) -> Tensor:
    """Herding as iCaRL and EEIL use it (Rebuffi et al. 2017, Algorithm 4).

    Selects one row at a time, so that the mean of the selected rows is as close as possible to
    `mean`. No row is selected twice.

    Args:
        features: [n, d]. Distances are computed from squares and products, which lose digits if the
            features are far from zero: then subtract a constant from features and `mean`.
        count: number of rows to select, at most n.
        mean: [d]; default: the mean of all rows.

    Returns:
        Indices int64 [count], in the order of selection.

    Raises:
        UserError: there are fewer than `count` rows.
    """
    if count > len(features):
        raise UserError(f"herding cannot select {count} of {len(features)} rows")
    mean = features.mean(0) if mean is None else mean
    total = torch.zeros_like(mean)
    taken = torch.zeros(len(features), dtype=torch.bool, device=features.device)
    squares = features.square().sum(1)
    chosen = torch.empty(count, dtype=torch.int64, device=features.device)
    for k in range(count):
        # |mean − (total + f)/(k+1)|² = const + (|f|² − 2 f·wanted)/(k+1)², with `wanted` as below:
        # one matrix-vector product, no copy of the features.
        wanted = (k + 1) * mean - total
        distance = squares - 2 * (features @ wanted)
        # A tensor [1], not a number: a GPU is not waited for.
        best = distance.masked_fill(taken, torch.inf).argmin(0, keepdim=True)
        chosen[k : k + 1] = best
        taken.index_fill_(0, best, True)
        total += features.index_select(0, best)[0]
    return chosen


def repeated(rows: Tensor, count: int) -> Tensor:
    """The first `count` rows; if there are fewer, they are repeated in order."""
    return rows[torch.arange(count, device=rows.device) % len(rows)]


def feature_network(
    data: ImageData, settings: Coreset, seed: int, checkpointer: Checkpointer
) -> Classifier:
    """A network trained on the whole training split, as feature extractor.

    Raises:
        UserError: it diverges.
    """
    draws = generator(seed, "features")
    network = build(settings.network, data.shape, data.classes, draws, device=data.device)
    schedule = Schedule(
        settings.steps, batch_size=128, lr=0.01, momentum=0.9, weight_decay=5e-4, milestones=(0.5,)
    )
    report = partial(checkpointer.stage, "training the network of herding", settings.steps)
    train_on_split(network, data, schedule, draws, report=report)
    if not all_finite(network):
        raise UserError("the training of the network of herding diverged: choose another network")
    network.eval()
    return network


def require_images(data: ImageData, ipc: int, advice: str = "use fewer images per class") -> None:
    """Check that `ipc` is at least 1 and every class has that many training images.

    Args:
        data: the images.
        ipc: images per class.
        advice: what the user can do; the end of the message.

    Raises:
        UserError: otherwise; the message names the classes that have fewer.
    """
    if ipc < 1:
        raise UserError(f"images per class must be at least 1, not {ipc}")
    short = data.train_counts < ipc
    if short.any():
        names = [data.class_names[label] for label in short.nonzero()[:, 0].tolist()]
        raise UserError(
            f"{data.name} has fewer than {ipc} training images of {listed(names)}: {advice}"
        )


def require_several_classes(data: ImageData, because: str) -> None:
    """Check that there is more than one class.

    Args:
        data: the images.
        because: why one is too few; in the middle of the message.

    Raises:
        UserError: there is one.
    """
    if data.classes == 1:
        raise UserError(
            f"{data.name} has one class: {because}; choose --method dm, herding or random"
        )


def large_classes(data: ImageData, count: int) -> list[int]:
    """The labels of the classes with at least `count` training images."""
    labels: list[int] = (data.train_counts >= count).nonzero()[:, 0].tolist()
    return labels


def without_short_classes(data: ImageData, settings: MethodSettings) -> ImageData:
    """The classes that are condensed: short ones may keep their real images instead."""
    large = large_classes(data, settings.ipc)
    return data.with_classes(large) if settings.short_classes == "keep" and large else data


def set_of_rows(data: ImageData, rows: Tensor, settings: MethodSettings) -> CondensedSet:
    """The condensed set of these rows [classes, count] of the training split, as it is stored."""
    rows = rows.flatten()
    labels = data.y_train[rows]
    if settings.lossless:
        return CondensedSet(
            images=(data.x_train[rows].float() / 255).cpu(),
            labels=labels.cpu(),
            mean=data.mean,
            std=data.std,
            class_names=data.class_names,
        )
    codec = codec_of(data, settings)
    planes = codec.encode(data.normalise(data.x_train[rows]))
    return stored_set(data, settings, codec, planes, labels)
