"""Train on a stream with one or more seeds, with a checkpoint after every experience."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from avalanche.benchmarks import CLScenario
from avalanche.logging import BaseLogger
from avalanche.training.plugins import SupervisedPlugin

from condense import (
    Checkpoint,
    Checkpointer,
    CondensedSet,
    ImageData,
    Progress,
    RunFolder,
    build,
    generator,
)
from continual.condensed_buffer import CondensedBuffer
from continual.eeil import EEIL
from continual.heads import with_heads
from continual.loggers import Loggers
from continual.selected_buffers import HerdingBuffer, RandomBuffer
from continual.settings import ContinualConfig
from continual.storage_policy import RehearsalBuffer
from continual.stored import StoredExemplars, joined_images, joined_logits
from continual.streams import make_benchmark
from continual.tasks import augmentation
from continual.testing import accuracies, evaluator

BUFFERS: dict[str, type[RehearsalBuffer]] = {"herding": HerdingBuffer, "random": RandomBuffer}
"""The memories of `SELECTION_METHODS`."""


@dataclass(frozen=True)
class SeedResult:
    """Result of one seed."""

    seed: int
    matrix: list[list[float | None]]
    """Test accuracy [stage][task]; None if the heads cannot be tested on the task yet."""
    memory_images: int
    memory_bytes: int
    seconds: float


class Experiment:
    """Trains on a stream and writes to a run folder."""

    def __init__(
        self,
        settings: ContinualConfig,
        tasks: list[ImageData],
        folder: RunFolder,
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.tasks = [task.to(device) for task in tasks]
        self.folder = folder
        self.device = device
        self.benchmark: CLScenario = make_benchmark(self.tasks, settings.head)
        self.cache = settings.common.open_cache()
        self.epochs_per_seed = self._epochs_until(len(tasks))

    def run(self) -> list[SeedResult]:
        """Train all seeds in sequence; resumes from the checkpoint."""
        first = self.settings.common.seed
        seeds = range(first, first + self.settings.seeds)
        bar = Progress("learning", quiet=self.settings.common.quiet)
        with self.folder.checkpointer(show=bar) as checkpointer:
            before = checkpointer.restore()
            results: list[SeedResult] = []
            if before:
                results = before.value("results", list[SeedResult], self._may_come_of)
            for seed in seeds[len(results) :]:
                results.append(self._learn(seed, checkpointer, before, results))
                checkpointer.save(Checkpoint({}, _state(results, [])))
                checkpointer.flush()
                before = None
        return results

    def _learn(
        self, seed: int, checkpointer: Any, before: Checkpoint | None, results: list[SeedResult]
    ) -> SeedResult:
        """Train one seed on the whole stream."""
        matrix: list[list[float | None]] = []
        sizes: dict[str, int] = {}
        iterations = 0
        resuming = before if before and before.state.get("matrix") else None
        if resuming:
            matrix = resuming.value("matrix", list[list[float | None]], self._may_be_matrix)
            iterations = resuming.value("iterations", int, lambda count: count >= 0)
            sizes = resuming.value("log_sizes", dict[str, int])
        with Loggers(self.settings.loggers, self.folder.path, seed, sizes, iterations) as logs:
            strategy = self._strategy(seed, logs.loggers)
            if resuming:
                self._restore(strategy, resuming, len(matrix))
                strategy.clock.train_iterations = iterations
            total = self.settings.seeds * self.epochs_per_seed
            step = len(results) * self.epochs_per_seed + self._epochs_until(len(matrix))
            strategy.plugins.insert(0, _Reporter(checkpointer, step, total, seed))
            for number, experience in enumerate(self.benchmark.train_stream):
                if number < len(matrix):
                    continue
                strategy.train(experience, eval_streams=[])
                matrix.append(self._test(strategy, number))
                state = _state(results, matrix)
                state |= {"iterations": strategy.clock.train_iterations, "log_sizes": logs.sizes()}
                checkpointer.save(Checkpoint(_tensors(strategy), state))
                checkpointer.flush()
        for stale in self.folder.path.glob(f"condensing-{seed}-*.safetensors"):
            self.folder.remove_checkpoint(stale.stem)
        self._keep_memory(strategy.memory, seed)
        seconds = checkpointer.seconds - sum(result.seconds for result in results)
        memory = strategy.memory
        images = sum(map(len, memory.groups.values()))
        return SeedResult(seed, matrix, images, memory.bytes, seconds)

    def _strategy(self, seed: int, loggers: Sequence[BaseLogger] = ()) -> EEIL:
        settings = self.settings
        data = self.tasks[0]
        network = build(settings.eeil.network, data.shape, data.classes, generator(seed, "learner"))
        return EEIL(
            model=with_heads(settings.head, network, seed).to(self.device),
            memory=self._memory(seed),
            config=settings.eeil,
            distill=settings.distill,
            augmentation=augmentation(self.tasks),
            seed=seed,
            device=self.device,
            evaluator=evaluator(loggers),
        )

    def _memory(self, seed: int) -> RehearsalBuffer:
        settings = self.settings
        size: dict[str, Any] = {"images_per_class": settings.images_per_class}
        if settings.memory_size is not None:
            size = {"max_size": settings.memory_size}
        size.update(
            storage=settings.storage, factor=settings.factor, store_logits=settings.store_logits
        )
        if settings.memory in BUFFERS:
            return BUFFERS[settings.memory](**size, seed=seed)
        return CondensedBuffer(
            **size,
            method=settings.memory,
            settings=settings.condensing,
            preset=settings.common.preset,
            checkpointers=partial(self._condensing_checkpointer, seed),
            cache=self.cache,
            seed=seed,
        )

    def _condensing_checkpointer(
        self, seed: int, data: ImageData, ipc: int
    ) -> AbstractContextManager[Checkpointer]:
        name = f"condensing-{seed}-{data.fingerprint()[:12]}-{ipc}"
        bar = Progress(f"condensing {data.name}", quiet=self.settings.common.quiet)
        return self.folder.checkpointer(name, history=False, show=bar)

    def _restore(self, strategy: EEIL, before: Checkpoint, experiences: int) -> None:
        """Restore the model and the memory after this number of experiences."""
        strategy.model.train()
        for experience in self.benchmark.train_stream[:experiences]:
            strategy.model.adaptation(experience)
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "memory": {}}
        with before.restoring():
            for name, tensor in before.tensors.items():
                part, _, rest = name.partition("/")
                parts[part][rest] = tensor
            strategy.model.load_state_dict(parts["model"])
            strategy.memory.load_state_dict(parts["memory"], self.tasks[0])

    def _may_come_of(self, results: list[SeedResult]) -> bool:
        """Whether these can be results of the first seeds of this experiment."""
        return len(results) <= self.settings.seeds and all(
            result.seed == self.settings.common.seed + number
            and len(result.matrix) == len(self.tasks)
            and self._may_be_matrix(result.matrix)
            for number, result in enumerate(results)
        )

    def _may_be_matrix(self, matrix: list[list[float | None]]) -> bool:
        """Whether these can be accuracies [stage][task] of the first stages."""
        return len(matrix) <= len(self.tasks) and all(
            len(row) == len(self.tasks) and all(value is None or 0 <= value <= 1 for value in row)
            for row in matrix
        )

    def _test(self, strategy: EEIL, stage: int) -> list[float | None]:
        """Test accuracies on all tasks; None if the heads cannot be tested on a task."""
        stream = self.benchmark.test_stream
        known = len(stream) if self.settings.head == "domain" else stage + 1
        return accuracies(strategy, stream, known)

    def _epochs_until(self, experiences: int) -> int:
        """Epochs of both stages of this number of experiences."""
        config = self.settings.eeil
        if not experiences:
            return 0
        later = (experiences - 1) * (config.epochs + config.finetune_epochs)
        return config.epochs_first + later

    def _keep_memory(self, memory: RehearsalBuffer, seed: int) -> None:
        """Save the exemplars of each task as a condensed set; of the first seed also a picture."""
        first = seed == self.settings.common.seed
        kept = [self._kept(memory, number, seed) for number in range(len(self.tasks))]
        for number, condensed in enumerate(kept, 1):
            name = f"condensed-{number}" + ("" if first else f"-seed-{seed}")
            condensed.save(self.folder.path / f"{name}.safetensors")
        if first:
            _side_by_side(kept).grid(self.folder.path / "memory.png")

    def _kept(self, memory: RehearsalBuffer, number: int, seed: int) -> CondensedSet:
        """The exemplars of a task, as they are stored."""
        task, offset = self.tasks[number], self.benchmark.train_stream[number].offset
        groups = {
            group: kept for group, kept in memory.groups.items() if group.experience == number
        }
        parts = list(groups.values())
        return CondensedSet(
            images=torch.cat([part.pixels() for part in parts]),
            labels=self._labels(parts, [group.label for group in groups]),
            mean=task.mean,
            std=task.std,
            class_names=tuple(task.class_names[group.label - offset] for group in groups),
            provenance={"dataset": task.name, "method": self.settings.memory, "seed": seed},
            stored=joined_images(parts),
        )

    def _labels(self, parts: Sequence[StoredExemplars], labels: list[int]) -> torch.Tensor:
        """Hard labels from 0; soft ones if they were learnt and classes have as many images each.

        Args:
            parts: the exemplars of each class.
            labels: of these classes in the stream.
        """
        sizes = torch.tensor([len(part) for part in parts])
        hard = torch.arange(len(parts)).repeat_interleave(sizes)
        condensing = self.settings.condensing
        learnt = joined_logits(parts) if condensing and condensing.learns_labels else None
        if learnt is None or len(sizes.unique()) > 1:
            return hard
        soft = learnt[:, labels].float().softmax(1)
        real = soft.isnan().any(1)  # a class with few images keeps real ones, without soft labels
        soft[real] = F.one_hot(hard[real], len(parts)).float()
        return soft


def _side_by_side(sets: list[CondensedSet]) -> CondensedSet:
    """The sets of all tasks as one, with the classes of each task after those before, for a
    picture."""
    counts = torch.tensor([0, *(len(condensed.class_names) for condensed in sets)]).cumsum(0)
    return replace(
        sets[0],
        images=torch.cat([condensed.images for condensed in sets]),
        labels=torch.cat(
            [kept.hard_labels + before for kept, before in zip(sets, counts, strict=False)]
        ),
        class_names=tuple(name for condensed in sets for name in condensed.class_names),
        stored=None,
    )


class _Reporter(SupervisedPlugin):  # type: ignore[misc]
    """Reports every epoch to the Checkpointer."""

    def __init__(self, checkpointer: Checkpointer, step: int, total: int, seed: int) -> None:
        super().__init__()
        self.checkpointer, self.step, self.total, self.seed = checkpointer, step, total, seed
        self.losses: list[torch.Tensor] = []

    def after_training_iteration(self, strategy: EEIL, **kwargs: Any) -> None:
        self.losses.append(strategy.loss.detach())

    def after_training_epoch(self, strategy: EEIL, **kwargs: Any) -> None:
        self.step += 1
        self.checkpointer.report(
            self.step,
            self.total,
            seed=self.seed,
            task=strategy.experience.current_experience + 1,
            stage=2 if strategy.stage.name == "finetune" else 1,
            lr=strategy.optimizer.param_groups[0]["lr"],
            loss=round(float(torch.cat(self.losses).mean()), 4),
        )
        self.losses.clear()


def _tensors(strategy: EEIL) -> dict[str, torch.Tensor]:
    model = {f"model/{name}": tensor for name, tensor in strategy.model.state_dict().items()}
    return model | {f"memory/{name}": kept for name, kept in strategy.memory.state_dict().items()}


def _state(results: list[SeedResult], matrix: list[list[float | None]]) -> dict[str, Any]:
    return {"results": [asdict(result) for result in results], "matrix": matrix}
