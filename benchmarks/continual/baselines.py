"""Avalanche's own replay strategies, as baselines for EEIL with a condensed memory.

GDumb is also measured with a condensed memory, because it trains on the memory only.

Each has the same network, memory, augmentation and number of steps per experience as EEIL; `NOTES`
of `benchmarks.continual.split_streams` lists the differences. A memory with a fixed total has its
full size from the start, as is usual for these strategies. Before the last experience it therefore
has more images than EEIL's memory.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
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
from avalanche.training.supervised import DER, ER_ACE, GDumb, ICaRL, Naive
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from condense.augment.params import augment_batch
from condense.data.image_data import ImageData
from condense.models.build import build
from condense.runs.cache import Cache
from condense.seeds import generator
from continual.condensed_buffer import CondensedBuffer
from continual.experiment import SeedResult
from continual.heads import with_heads
from continual.losses import learning_rate
from continual.settings import EEILConfig
from continual.storage_policy import RehearsalBuffer
from continual.streams import make_benchmark
from continual.tasks import augmentation
from continual.testing import accuracies, evaluator


@dataclass(frozen=True)
class Job:
    """A stream of tasks and the training settings."""

    tasks: Sequence[ImageData]
    """Tasks, on the device of the computation."""
    config: EEILConfig
    """Settings of EEIL; its fine-tuning is used only in the number of steps."""
    images_per_class: int
    seed: int
    factor: int = 1
    """Factor of EEIL's memory; a larger factor adds steps to the fine-tuning."""
    condensing: Any = None
    """Settings of DSA for a condensed memory; None: defaults of `CondensedBuffer`."""

    @property
    def classes(self) -> int:
        """Number of classes in all tasks."""
        return sum(task.classes for task in self.tasks)

    @property
    def memory(self) -> int:
        """Total number of exemplars."""
        return self.images_per_class * self.classes


def steps(job: Job) -> list[int]:
    """Number of steps of EEIL in both stages of each experience."""
    config, batch = job.config, job.config.batch_size
    counts: list[int] = []
    stored = 0
    for task in job.tasks:
        epochs = config.epochs if counts else config.epochs_first
        if counts and config.batch_size_mem is not None:
            batches = -(-len(task.x_train) // (batch - config.batch_size_mem))
        else:
            batches = -(-(len(task.x_train) + stored) // batch)
        stored += job.images_per_class * job.factor**2 * task.classes
        tuning = -(-stored // batch)
        main = min(batches, config.steps_per_epoch or batches)
        finetuned = min(tuning, config.finetune_steps_per_epoch or tuning)
        counts.append(epochs * main + (config.finetune_epochs * finetuned if counts else 0))
    return counts


class EEILSchedule(SupervisedPlugin):  # type: ignore[misc]
    """Limits the steps of an experience, sets learning rates and augments, as in EEIL."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.counts, self.lr = steps(job), job.config.lr
        self.operations = augmentation(job.tasks) if job.config.augment else ()
        self.draws = generator(job.seed, "competitor", "augmentation")
        self.done = 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Reset the optimizer state: every experience starts without momentum."""
        self.done = 0
        self.count = self.counts[strategy.experience.current_experience]
        strategy.make_optimizer(reset_optimizer_state=True)

    def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Set the learning rate: ÷10 after each quarter, as in EEIL's stage 1."""
        for group in strategy.optimizer.param_groups:
            group["lr"] = learning_rate(self.lr, self.done, self.count, 4)

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Augment the batch, with separate parameters for each image."""
        if self.operations:
            strategy.mbatch[0] = augment_batch(strategy.mb_x, self.operations, self.draws)

    def after_update(self, strategy: Any, **kwargs: Any) -> None:
        """Stop after the last step."""
        self.done += 1
        if self.done == self.count:
            strategy.stop_training()


Baseline = tuple[SupervisedTemplate, Callable[[], int]]
"""A strategy, and a function that returns its current number of exemplars."""


def _replay(buffer: type[ExemplarsBuffer]) -> Callable[[Job], Baseline]:
    def make(job: Job) -> Baseline:
        memory, half = buffer(job.memory), job.config.batch_size // 2
        replay = ReplayPlugin(job.memory, half, half, storage_policy=memory)
        arguments = _arguments(job, _growing(job))
        arguments["plugins"].append(replay)
        return Naive(**arguments), lambda: len(memory.buffer)

    return make


def _gdumb(buffer: Callable[[Job], ExemplarsBuffer]) -> Callable[[Job], Baseline]:
    def make(job: Job) -> Baseline:
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
        hflip=first.hflip,
        cache=Cache(),
        seed=job.seed,
    )


def _icarl(job: Job) -> Baseline:
    network = build(job.config.network, job.tasks[0].shape, job.classes, _draws(job))
    # Avalanche's loss loads the network's state into the network of the previous experience, so
    # the classifier cannot grow. Outputs of later classes are trained towards 0.
    arguments = _arguments(job, network.to(job.tasks[0].device))
    del arguments["model"]
    strategy = ICaRL(
        feature_extractor=network.features,
        classifier=network.classifier,
        # Fixed number per class: shares of a fixed total are rounded up and exceed the total.
        memory_size=job.images_per_class,
        fixed_memory=False,
        buffer_transform=None,
        **arguments,
    )
    (plugin,) = (part for part in strategy.plugins if hasattr(part, "x_memory"))
    return strategy, lambda: sum(map(len, plugin.x_memory))


BASELINES: dict[str, Callable[[Job], Baseline]] = {
    "reservoir": _replay(ReservoirSamplingBuffer),
    "class-balanced": _replay(ClassBalancedBuffer),
    "icarl": _icarl,
    "gdumb": _gdumb(lambda job: ClassBalancedBuffer(job.memory)),
    "gdumb-dsa": _gdumb(_condensed),
}


def train_baseline(name: str, job: Job) -> SeedResult:
    """Train the baseline `name` on the stream; test after each experience.

    Avalanche's buffers and loaders use torch's global generator. It is seeded here from the job's
    seed and the baseline's name, and restored afterwards.
    """
    started = time.monotonic()
    benchmark = _benchmark(job)
    matrix, stored = [], 0
    # Avalanche warns about its own calls and overrides filters, so warnings are recorded instead.
    with torch.random.fork_rng(), warnings.catch_warnings(record=True):
        torch.manual_seed(generator(job.seed, "competitor", name).initial_seed())
        strategy, exemplars = BASELINES[name](job)
        for number, experience in enumerate(benchmark.train_stream):
            strategy.train(experience, eval_streams=[])
            matrix.append(accuracies(strategy, benchmark.test_stream, number + 1))
            stored = max(stored, exemplars())
    pixels = job.tasks[0].x_train[0].numel()
    seconds = time.monotonic() - started
    return SeedResult(job.seed, matrix, stored, stored * pixels, seconds)


AVALANCHE = {"er-ace": ER_ACE, "der++": DER}
"""Strategies whose buffer can be replaced by one of ours."""


def train_with_buffer(name: str, job: Job, buffer: RehearsalBuffer) -> float:
    """Train a strategy of `AVALANCHE` with this buffer; the mean accuracy over all tasks.

    The network has all outputs from the start, as the stored logits of DER need it.
    """
    torch.manual_seed(generator(job.seed, "competitor", name).initial_seed())
    network = build(job.config.network, job.tasks[0].shape, job.classes, _draws(job))
    half = job.config.batch_size // 2
    arguments = {**_arguments(job, network.to(job.tasks[0].device)), "train_mb_size": half}
    strategy = AVALANCHE[name](mem_size=job.memory, batch_size_mem=half, **arguments)
    strategy.storage_policy = buffer
    return final_accuracy(strategy, _benchmark(job))


def final_accuracy(strategy: SupervisedTemplate, benchmark: CLScenario) -> float:
    """Train on all tasks; the mean accuracy over them."""
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[])
    found = accuracies(strategy, benchmark.test_stream, len(benchmark.test_stream))
    return fmean(value for value in found if value is not None)


def _benchmark(job: Job) -> CLScenario:
    """The class-incremental stream, with the extra attributes that iCaRL's plugin needs."""
    ours = make_benchmark(job.tasks, "class")
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
    """Task labels as one constant: Avalanche 0.6 cannot concatenate a list to iCaRL's memory."""
    label = TaskLabels(ConstantSequence(0, len(dataset)))
    return TaskAwareSupervisedClassificationDataset([dataset], data_attributes=[label])


def _growing(job: Job) -> nn.Module:
    first = job.tasks[0]
    network = build(job.config.network, first.shape, first.classes, _draws(job))
    model: nn.Module = with_heads("class", network, job.seed).to(first.device)
    return model


def _draws(job: Job) -> torch.Generator:
    """The same generator as EEIL, so that all have the same initial weights."""
    return generator(job.seed, "learner")


def _arguments(job: Job, model: nn.Module) -> dict[str, Any]:
    """Arguments that all strategies share."""
    config = job.config
    return {
        "model": model,
        "optimizer": torch.optim.SGD(
            model.parameters(),
            config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        ),
        "train_mb_size": config.batch_size,
        # More epochs than steps: the plugin ends the experience.
        "train_epochs": max(steps(job)) + 1,
        "eval_mb_size": config.batch_size,
        "device": job.tasks[0].device,
        "plugins": [EEILSchedule(job)],
        "evaluator": evaluator(),
    }
