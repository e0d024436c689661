"""Soft labels: the probabilities of a teacher network (Hinton et al. 2015)."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from condense.augment.params import default_strategy
from condense.condensed_set import CondensedSet
from condense.config.methods import MethodSettings
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.models.build import Classifier, build
from condense.runs.cache import Cache, cache_key
from condense.runs.checkpointer import Checkpointer
from condense.runs.io import read_tensors, write_tensors
from condense.seeds import generator
from condense.training.chunking import max_forward_batch, max_training_batch
from condense.training.loop import in_chunks
from condense.training.schedule import Schedule
from condense.training.threads import worker_threads
from condense.training.training_split import train_on_split

BATCH_SIZE, LR, MOMENTUM, WEIGHT_DECAY = 128, 0.05, 0.9, 5e-4
"""Of the training; the learning rate falls to zero along half a cosine."""


def with_soft_labels(
    condensed: CondensedSet,
    data: ImageData,
    settings: MethodSettings,
    seed: int,
    cache: Cache | None,
    checkpointer: Checkpointer,
) -> CondensedSet:
    """The same images, ordered by class, with the soft labels of a teacher.

    Args:
        condensed: a set with hard labels and as many images of each class.
        data: the training set of the teacher.
        settings: of the method.
        seed: for the teacher's weights, the order of images and augmentation.
        cache: keeps the teacher of each dataset.
        checkpointer: receives the progress of the training of the teacher.

    Raises:
        UserError: the training of the teacher diverges.
    """
    teacher = teacher_for(
        data, settings.network, settings.teacher_steps, seed, cache, checkpointer
    ).to(data.device)
    logits = teacher_logits(teacher, condensed.normalised(data).to(data.device), data)
    if not bool(logits.isfinite().all()):
        raise UserError("the training of the teacher diverged: choose another network")
    return replace(condensed, labels=rounded_labels(logits / settings.temperature).cpu())


def rounded_labels(logits: Tensor) -> Tensor:
    """The softmax of logits [n, classes] as uint8: the most probable class has 255."""
    return (255 * (logits - logits.amax(1, keepdim=True)).exp()).round().to(torch.uint8)


@torch.no_grad()
def teacher_logits(teacher: Classifier, images: Tensor, data: ImageData) -> Tensor:
    """Logits [n, classes] of normalised images; averaged with those of the mirrored images if
    these show the same class."""
    chunk_size = max_forward_batch(max_training_batch(teacher, data.shape, data.device))
    views = [images, images.flip(3)] if data.hflip else [images]
    return torch.stack([in_chunks(teacher, view, chunk_size) for view in views]).mean(0)


def teacher_for(
    data: ImageData,
    settings: Network,
    steps: int,
    seed: int,
    cache: Cache | None,
    checkpointer: Checkpointer,
) -> Classifier:
    """The teacher of a dataset, from the cache if it is there; on the CPU."""
    if cache is None:
        return train_teacher(data, settings, steps, seed, checkpointer)

    def load(path: Path) -> Classifier:
        network = build(settings, data.shape, data.classes)
        try:
            network.load_state_dict(read_tensors(path)[0])
        except (RuntimeError, KeyError) as error:
            raise UserError(f"{path} is damaged: it holds another network") from error
        return network.eval()

    # A cache of its own in the same folder: its hits are not those of sets.
    return Cache(cache.root).obtain(
        cache_key(data.fingerprint(), "teacher", [asdict(settings), steps], seed),
        load=load,
        make=lambda _: train_teacher(data, settings, steps, seed, checkpointer),
        save=lambda network, path: write_tensors(path, network.state_dict(), {}),
    )


def train_teacher(
    data: ImageData, settings: Network, steps: int, seed: int, checkpointer: Checkpointer
) -> Classifier:
    """A network trained on the whole training split; on the CPU, in evaluation mode."""
    draws = generator(seed, "teacher")
    network = build(settings, data.shape, data.classes, draws, device=data.device)
    schedule = Schedule(
        steps, BATCH_SIZE, LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, cosine=True
    )
    strategy = default_strategy(data.hflip)
    report = partial(checkpointer.stage, "training the teacher", steps)
    with worker_threads(data.device):
        train_on_split(network, data, schedule, draws, strategy, report=report)
    return network.cpu().eval()
