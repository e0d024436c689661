"""End-to-end incremental learning (Castro et al. 2018) as an Avalanche strategy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.storage_policy import ExemplarsBuffer
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from condense import UserError, augment_batch, generator
from continual.heads import MultiHead
from continual.loading import BatchLoader, RehearsalLoader
from continual.losses import (
    add_gradient_noise,
    among_new,
    answered_again,
    cross_distilled,
    cross_entropy_of_known,
    learning_rate,
    noise_scale,
)
from continual.samples import Samples, read
from continual.settings import Learner


@dataclass(frozen=True)
class Stage:
    """One of the two schedules of an experience."""

    name: str
    epochs: int
    lr: float
    phases: int
    """Equal parts of the schedule; the learning rate is divided by ten between them."""
    epochs_before: int = 0
    """Epochs of the experience before this stage, from which the noise goes on falling."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen copy of the network, and the heads that it teaches."""

    model: MultiHead
    heads: tuple[int, ...]

    @staticmethod
    def of(model: MultiHead, heads: Sequence[int]) -> Teacher:
        """A copy of the network as it is now."""
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        return Teacher(frozen, tuple(heads))

    @torch.no_grad()
    def pairs(self, images: Tensor, logits: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(student's, teacher's) logits of each head that it teaches."""
        taught = self.model.logits(images)
        return ((logits[head], taught[head]) for head in self.heads)


class EEIL(SupervisedTemplate):  # type: ignore[misc]
    """End-to-end incremental learning: cross-distilled loss and balanced fine-tuning.

    Each experience but the first has two stages. Stage 1 trains on the new data and the memory,
    simply put together or, with `memory_share`, in batches of both; every head that was there
    before is distilled from the network as it was before the experience. Then the memory takes in
    the new classes, at the same number of images as the old ones, and stage 2 fine-tunes on the
    memory alone, with one more distillation, of the newest head from the network after stage 1.
    The memory is chosen again after stage 2 where it depends on the network.

    Distillation targets belong to what the student sees. Because images are augmented as they
    come, teachers look at the very batch, which costs a forward pass of each. A memory with answers
    brings those of the images as they are: they are noted when the images are taken in, and again
    after stage 2.

    Avalanche's `num_workers`, `shuffle` and `drop_last` change nothing: batches are drawn from
    tensors. A stream needs its classes' timeline, as Avalanche's own benchmarks have it
    (`with_classes_timeline`). Training raises a `UserError` where weights become infinite.

    A memory may be any Avalanche `ExemplarsBuffer`; those of `continual.memory` and the experiences
    of `continual.streams` are trained on as tensors, others are read once an experience.

        model = with_heads("domain", condense.build(Network(), (3, 32, 32), 10, draws))
        strategy = EEIL(model=model, memory=CondensedBuffer(images_per_class=10))
        strategy.train(benchmark.train_stream)
    """

    def __init__(
        self,
        *,
        model: MultiHead,
        memory: ExemplarsBuffer,
        learner: Learner | None = None,
        distill: bool = True,
        augmentation: tuple[str, ...] = ("color", "crop"),
        seed: int = 0,
        eval_mb_size: int = 128,
        device: str | torch.device = "cpu",
        plugins: list[SupervisedPlugin] | None = None,
        evaluator: EvaluationPlugin = default_evaluator,
        eval_every: int = -1,
    ) -> None:
        """Put the learner together.

        Args:
            model: a feature extractor with heads (`continual.heads`).
            memory: where exemplars are kept.
            learner: schedules; the paper's where not given.
            distill: whether old heads are distilled.
            augmentation: operations of `condense.augment`, one of which is drawn for each batch;
                none where empty.
            seed: of the order of the data, the augmentation and the noise.
            eval_mb_size: images in a batch at test; larger ones are slower on a CPU.
            device: to compute on.
            plugins: as for any strategy.
            evaluator: likewise.
            eval_every: likewise.
        """
        self.learner = learner or Learner()
        self.memory = memory
        self.distill = distill
        self.augmentation = augmentation if self.learner.augment else ()
        self.seed = seed
        self.teachers: list[Teacher] = []
        self.new_classes = torch.empty(0, dtype=torch.int64)
        """Of the experience."""
        self.stage = Stage("first", self.learner.epochs_first, self.learner.lr, 4)
        self.epoch = -1
        """Of the stage, counted from zero."""
        self._logits: list[Tensor] = []
        self._draws: dict[str, torch.Generator] = {}
        optimizer = torch.optim.SGD(
            model.parameters(),
            self.learner.lr,
            momentum=self.learner.momentum,
            weight_decay=self.learner.weight_decay,
        )
        super().__init__(
            model=model,
            optimizer=optimizer,
            train_mb_size=self.learner.batch,
            train_epochs=self.stage.epochs,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=[*(plugins or []), _EEILPlugin()],
            evaluator=evaluator,
            eval_every=eval_every,
        )
        for plugin in self.plugins:
            if isinstance(plugin, PeriodicEval):
                plugin.do_initial = False  # there is no head yet that could be tested

    def begin_experience(self) -> None:
        """Before the network has changed: choose stage 1 and make its teacher."""
        learner, old = self.learner, len(self.model.heads)
        self.teachers = []
        if self.distill and old:
            self.teachers.append(Teacher.of(self.model, range(old)))
        new = sorted(self.experience.classes_in_this_experience)
        self.new_classes = torch.tensor(new, device=self.device)
        epochs = learner.epochs if old else learner.epochs_first
        self._enter(Stage("main" if old else "first", epochs, learner.lr, 4))

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        """Stage 1, the memory's taking in of the new classes, and stage 2."""
        super()._train_exp(experience, eval_streams, **kwargs)
        self._require_finite()
        self.memory.post_adapt(self, experience)
        self._note_answers()
        if self.stage.name == "first" or not self.learner.finetune_epochs:
            return
        if self.distill:
            self.teachers.append(Teacher.of(self.model, [self.model.newest]))
        learner, before = self.learner, self.stage.epochs
        self._enter(Stage("finetune", learner.finetune_epochs, learner.finetune_lr, 3, before))
        self.make_optimizer()
        self.make_train_dataloader()
        self._stop_training = False  # who stops one stage early means that one
        super()._train_exp(experience, eval_streams, **kwargs)
        self._require_finite()
        if getattr(self.memory, "follows_network", False):
            self.memory.post_adapt(self, experience)
        self._note_answers()

    def _require_finite(self) -> None:
        if not all(bool(weights.isfinite().all()) for weights in self.model.state_dict().values()):
            number = self.experience.current_experience + 1
            raise UserError(
                f"the learner diverged in task {number}, seed {self.seed}: give it a lower --lr"
            )

    def _note_answers(self) -> None:
        """Remember with the images of this experience what the network says of them, if asked."""
        if getattr(self.memory, "answers", False):
            self.memory.note_answers(self.experience, self._answer)

    @torch.no_grad()
    def _answer(self, samples: Samples) -> Tensor:
        training = self.model.training
        self.model.eval()
        batches = BatchLoader([samples.to(self.device)], self.eval_mb_size)
        found = [self.model(images, tasks) for images, *_, tasks in batches]
        self.model.train(training)
        return torch.cat(found)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.epoch = -1
        self.train_epochs = stage.epochs
        number = int(self.experience.current_experience)
        names = ("order", "augmentation", "noise")
        self._draws = {name: generator(self.seed, name, number, stage.name) for name in names}
        # Noise is as large as the network; so it is drawn where the network is.
        noise = torch.Generator(self.device).manual_seed(self._draws["noise"].initial_seed())
        self._draws["noise"] = noise

    def make_optimizer(self, **kwargs: Any) -> None:
        """Every stage starts without momentum."""
        super().make_optimizer(reset_optimizer_state=True)

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Batches of new data and memory in stage 1, of the memory in stage 2."""
        learner = self.learner
        sources = [] if self.stage.name == "finetune" else [_samples(self.experience)]
        sources = [source.to(self.device) for source in [*sources, *_remembered(self.memory)]]
        batches = learner.batch, self._draws["order"], learner.updates_per_epoch
        self.dataloader: BatchLoader
        if learner.remembered is not None and len(sources) == 2:
            new, memory = sources
            self.dataloader = RehearsalLoader(new, memory, learner.remembered, *batches)
        else:
            self.dataloader = BatchLoader(sources, *batches)

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        """Batches of the experience, in order."""
        self.dataloader = BatchLoader([_samples(self.experience)], self.eval_mb_size)

    def begin_epoch(self) -> None:
        """Count the stage's epochs and set the learning rate of this one."""
        self.epoch += 1
        lr = learning_rate(self.stage.lr, self.epoch, self.stage.epochs, self.stage.phases)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def augment(self) -> None:
        """Augment the current batch, each image by a draw of its own."""
        if self.augmentation:
            draws = self._draws["augmentation"]
            self.mbatch[0] = augment_batch(self.mb_x, self.augmentation, draws)

    def add_noise(self) -> None:
        """Add the noise of this epoch to the gradients."""
        learner = self.learner
        if learner.noise:
            number = self.stage.epochs_before + self.epoch + 1
            scale = noise_scale(number, learner.noise_eta, learner.noise_gamma)
            parameters = list(self.model.parameters())
            add_gradient_noise(parameters, scale, len(self.mb_x), self._draws["noise"])

    def forward(self) -> Tensor:
        """Scores of the current batch over all the classes that its samples may belong to."""
        self._logits = self.model.logits(self.mb_x)
        scores: Tensor = self.model.combine(self._logits, self.mb_task_id)
        return scores

    def criterion(self) -> Tensor:
        """The cross-distilled loss, and that of answers that are remembered.

        At test the cross-entropy of the classes known so far.
        """
        if self.is_eval:
            return cross_entropy_of_known(self.mb_output, self.mb_y)
        taught = [
            pair for teacher in self.teachers for pair in teacher.pairs(self.mb_x, self._logits)
        ]
        temperature = self.learner.temperature
        output = self.mb_output
        if self.learner.asymmetric and self.stage.name == "main":
            output = among_new(output, self.mb_y, self.new_classes)
        loss = cross_distilled(output, self.mb_y, taught, temperature)
        if len(self.mbatch) == 4:
            loss = loss + answered_again(self.mb_output, self.mbatch[2], temperature)
        return loss


class _EEILPlugin(SupervisedPlugin):  # type: ignore[misc]
    """Calls the strategy at the moments that Avalanche's loop offers to plugins alone."""

    def before_train_dataset_adaptation(self, strategy: EEIL, **kwargs: Any) -> None:
        strategy.begin_experience()

    def before_training_epoch(self, strategy: EEIL, **kwargs: Any) -> None:
        strategy.begin_epoch()

    def before_forward(self, strategy: EEIL, **kwargs: Any) -> None:
        strategy.augment()

    def before_update(self, strategy: EEIL, **kwargs: Any) -> None:
        strategy.add_noise()

    def after_training_exp(self, strategy: EEIL, **kwargs: Any) -> None:
        strategy.teachers = []
        strategy._logits = []  # tensors of a graph keep a strategy from being copied


def _samples(experience: Any) -> Samples:
    """The experience's tensors, or its dataset read once, without any random transform."""
    samples: Samples | None = getattr(experience, "samples", None)
    return samples if samples is not None else read(experience.dataset.eval())


def _remembered(memory: ExemplarsBuffer) -> list[Samples]:
    if hasattr(memory, "samples"):
        return [] if memory.samples is None else [memory.samples]
    return [read(memory.buffer.eval())] if len(memory.buffer) else []
