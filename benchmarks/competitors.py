"""Avalanche's own rehearsal strategies, as fair competitors of EEIL with a condensed memory.

GDumb comes with a condensed memory too, which no learner leans on more.

Each has the network, the memory, the augmentation and, experience by experience, the number of
updates that EEIL has; `NOTES` of `benchmarks.split_streams` says what it does otherwise. A memory
that is not given for each class is given whole from the start, as is usual for these strategies,
so before the last experience it holds more images than EEIL's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.benchmarks import CLScenario, benchmark_from_datasets
from avalanche.benchmarks.scenarios.supervised import with_classes_timeline
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from avalanche.benchmarks.utils import TaskAwareSupervisedClassificationDataset, TaskLabels
from avalanche.benchmarks.utils.flat_data import ConstantSequence
from avalanche.training.plugins import ReplayPlugin, SupervisedPlugin
from avalanche.training.storage_policy import (
    ClassBalancedBuffer,
    ExemplarsBuffer,
    ReservoirSamplingBuffer,
)
from avalanche.training.supervised import GDumb, ICaRL, Naive
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from condense.augment import augment_batch
from condense.cache import Cache
from condense.data import ImageData
from condense.networks import build
from condense.seeds import generator
from continual.experiment import Outcome
from continual.heads import with_heads
from continual.losses import learning_rate
from continual.memory import CondensedBuffer
from continual.settings import Learner
from continual.streams import make_stream
from continual.tasks import augmentation
from continual.testing import accuracies, evaluator


@dataclass(frozen=True)
class Job:
    """A stream of tasks and how it is learnt."""

    tasks: Sequence[ImageData]
    """On the device that is computed on."""
    learner: Learner
    """Of which the fine-tuning only adds to the number of updates."""
    images_per_class: int
    seed: int
    formation: int = 1
    """Of the memory that EEIL has beside it, whose fine-tuning is as much longer."""
    condensing: Any = None
    """Of a condensed memory: settings of DSA; by default its own."""

    @property
    def classes(self) -> int:
        """In all tasks together."""
        return sum(task.classes for task in self.tasks)

    @property
    def memory(self) -> int:
        """The images that are remembered in all."""
        return self.images_per_class * self.classes


def updates(job: Job) -> list[int]:
    """The updates that EEIL makes in both stages of each experience."""
    learner, batch = job.learner, job.learner.batch
    counts: list[int] = []
    remembered = 0
    for task in job.tasks:
        epochs = learner.epochs if counts else learner.epochs_first
        if counts and learner.remembered is not None:
            batches = -(-len(task.x_train) // (batch - learner.remembered))
        else:
            batches = -(-(len(task.x_train) + remembered) // batch)
        remembered += job.images_per_class * job.formation**2 * task.classes
        tuning = -(-remembered // batch)
        limit = learner.updates_per_epoch or max(batches, tuning)
        finetuned = learner.finetune_epochs if counts else 0
        counts.append(epochs * min(batches, limit) + finetuned * min(tuning, limit))
    return counts


class Lessons(SupervisedPlugin):  # type: ignore[misc]
    """Ends an experience after its updates; sets learning rates; augments, as EEIL does."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.counts, self.lr = updates(job), job.learner.lr
        self.operations = augmentation(job.tasks) if job.learner.augment else ()
        self.draws = generator(job.seed, "competitor", "augmentation")
        self.done = 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Every experience starts without momentum."""
        self.done = 0
        self.count = self.counts[strategy.experience.current_experience]
        strategy.make_optimizer(reset_optimizer_state=True)

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """÷10 at each quarter, as in EEIL's stage 1."""
        for group in strategy.optimizer.param_groups:
            group["lr"] = learning_rate(self.lr, self.done, self.count, 4)

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Each image by a draw of its own."""
        if self.operations:
            strategy.mbatch[0] = augment_batch(strategy.mb_x, self.operations, self.draws)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Stop at the last update."""
        self.done += 1
        if self.done == self.count:
            strategy.stop_training()


Competitor = tuple[SupervisedTemplate, Callable[[], int]]
"""A strategy, and the number of images that it remembers by now."""


def _replay(buffer: type[ExemplarsBuffer]) -> Callable[[Job], Competitor]:
    def make(job: Job) -> Competitor:
        memory, half = buffer(job.memory), job.learner.batch // 2
        replay = ReplayPlugin(job.memory, half, half, storage_policy=memory)
        arguments = _arguments(job, _growing(job))
        arguments["plugins"].append(replay)
        return Naive(**arguments), lambda: len(memory.buffer)

    return make


def _gdumb(buffer: Callable[[Job], ExemplarsBuffer]) -> Callable[[Job], Competitor]:
    def make(job: Job) -> Competitor:
        memory = buffer(job)
        arguments = _arguments(job, _growing(job))
        strategy = GDumb(mem_size=job.memory, criterion=nn.CrossEntropyLoss(), **arguments)
        (plugin,) = (part for part in strategy.plugins if hasattr(part, "storage_policy"))
        plugin.storage_policy = memory
        return strategy, lambda: len(memory.buffer)

    return make


def _condensed(job: Job) -> ExemplarsBuffer:
    first = job.tasks[0]
    return CondensedBuffer(
        images_per_class=job.images_per_class,
        settings=job.condensing,
        mean=first.mean,
        std=first.std,
        mirror=first.mirror,
        cache=Cache(),
        seed=job.seed,
    )


def _icarl(job: Job) -> Competitor:
    network = build(job.learner.network, job.tasks[0].shape, job.classes, _draws(job))
    # Avalanche's loss copies the network's state into that of one experience before, so the
    # classifier cannot grow; outputs of classes to come are taught to be nought.
    arguments = _arguments(job, network.to(job.tasks[0].device))
    del arguments["model"]
    strategy = ICaRL(
        feature_extractor=network.features,
        classifier=network.classifier,
        # As many for each class: shares of a fixed total are rounded up, beyond what is allowed.
        memory_size=job.images_per_class,
        fixed_memory=False,
        buffer_transform=None,
        **arguments,
    )
    (plugin,) = (part for part in strategy.plugins if hasattr(part, "x_memory"))
    return strategy, lambda: sum(map(len, plugin.x_memory))


COMPETITORS: dict[str, Callable[[Job], Competitor]] = {
    "reservoir": _replay(ReservoirSamplingBuffer),
    "class-balanced": _replay(ClassBalancedBuffer),
    "icarl": _icarl,
    "gdumb": _gdumb(lambda job: ClassBalancedBuffer(job.memory)),
    "gdumb-dsa": _gdumb(_condensed),
}


def learn(name: str, job: Job) -> Outcome:
    """Learn the stream by the competitor `name`, tested after each experience.

    Avalanche's buffers and loaders draw from torch's global state; here it is that of the job's
    seed and the competitor's name, and afterwards what it was before.
    """
    started = time.monotonic()
    benchmark = _benchmark(job)
    matrix, remembered = [], 0
    # Avalanche warns of calls of its own, whatever the filters say; so warnings are caught.
    with torch.random.fork_rng(), warnings.catch_warnings(record=True):
        torch.manual_seed(generator(job.seed, "competitor", name).initial_seed())
        strategy, remembers = COMPETITORS[name](job)
        for number, experience in enumerate(benchmark.train_stream):
            strategy.train(experience, eval_streams=[])
            matrix.append(accuracies(strategy, benchmark.test_stream, number + 1))
            remembered = max(remembered, remembers())
    pixels = job.tasks[0].x_train[0].numel()
    seconds = time.monotonic() - started
    return Outcome(job.seed, matrix, remembered, remembered * pixels, seconds)


def _benchmark(job: Job) -> CLScenario:
    """The stream with growing classes, and what iCaRL's plugin asks of one besides."""
    ours = make_stream(job.tasks, "class")
    datasets = {
        name: [_one_task(experience.dataset) for experience in stream]
        for name, stream in (("train", ours.train_stream), ("test", ours.test_stream))
    }
    benchmark = with_classes_timeline(with_task_labels(benchmark_from_datasets(**datasets)))
    benchmark.n_classes_per_exp = [task.classes for task in job.tasks]
    benchmark.classes_order = list(range(job.classes))
    for experience in benchmark.train_stream:
        experience.benchmark = benchmark
    return benchmark


def _one_task(dataset: Any) -> TaskAwareSupervisedClassificationDataset:
    """The task label as one constant: Avalanche 0.6 cannot join a list to iCaRL's memory."""
    label = TaskLabels(ConstantSequence(0, len(dataset)))
    return TaskAwareSupervisedClassificationDataset([dataset], data_attributes=[label])


def _growing(job: Job) -> nn.Module:
    first = job.tasks[0]
    network = build(job.learner.network, first.shape, first.classes, _draws(job))
    model: nn.Module = with_heads("class", network, job.seed).to(first.device)
    return model


def _draws(job: Job) -> torch.Generator:
    """EEIL's, so that all start from the same weights."""
    return generator(job.seed, "learner")


def _arguments(job: Job, model: nn.Module) -> dict[str, Any]:
    """What all strategies have in common."""
    learner = job.learner
    return {
        "model": model,
        "optimizer": torch.optim.SGD(
            model.parameters(),
            learner.lr,
            momentum=learner.momentum,
            weight_decay=learner.weight_decay,
        ),
        "train_mb_size": learner.batch,
        # More than there are updates: the plugin ends the experience.
        "train_epochs": max(updates(job)) + 1,
        "eval_mb_size": learner.batch,
        "device": job.tasks[0].device,
        "plugins": [Lessons(job)],
        "evaluator": evaluator(),
    }
