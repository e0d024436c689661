"""End-to-end incremental learning (Castro et al. 2018) as an Avalanche strategy."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

import torch
from avalanche.training.plugins import (
    BiCPlugin,
    CoPEPlugin,
    EarlyStoppingPlugin,
    EvaluationPlugin,
    GDumbPlugin,
    GSS_greedyPlugin,
    RARPlugin,
    ReplayPlugin,
    SupervisedPlugin,
)
from avalanche.training.storage_policy import ExemplarsBuffer
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from condense import UserError, augment_batch, generator
from condense.validation import require_class
from continual.exemplars import Samples, read
from continual.experience_numbers import ExperienceNumbers
from continual.heads import ClassHeads, MultiHead
from continual.loading import EVAL_BATCH_SIZE, BatchLoader, RehearsalLoader, network_logits
from continual.losses import (
    add_gradient_noise,
    cross_distilled,
    cross_entropy_of_known,
    der_loss,
    er_ace_logits,
    learning_rate,
    noise_scale,
)
from continual.settings import EEILConfig
from continual.streams import classes_of

MAKES_BATCHES = (ReplayPlugin, RARPlugin, BiCPlugin, CoPEPlugin, GDumbPlugin, GSS_greedyPlugin)
"""Avalanche's plugins that replace the batches of a strategy, or its training data."""


class BaseKwargs(TypedDict, total=False):
    """Arguments that `EEIL` passes on to Avalanche's `SupervisedTemplate`."""

    device: str | torch.device
    eval_mb_size: int
    """Default: `EVAL_BATCH_SIZE`."""
    evaluator: EvaluationPlugin | None
    eval_every: int


@dataclass(frozen=True)
class Stage:
    """Training schedule of one stage of an experience."""

    name: str
    epochs: int
    lr: float
    phases: int
    """Number of equal parts of the schedule; the learning rate is divided by 10 between them."""
    epochs_before: int = 0
    """Epochs of the experience before this stage; the noise decay continues from there."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A frozen copy of the network, and the heads that are distilled from it."""

    model: MultiHead
    heads: tuple[int, ...]

    @staticmethod
    def of(model: MultiHead, heads: Sequence[int]) -> Teacher:
        """A frozen copy of the current network."""
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        return Teacher(frozen, tuple(heads))

    @torch.no_grad()
    def pairs(self, images: Tensor, logits: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """(student, teacher) logits of each distilled head with several outputs: the softmax over a
        single one is 1."""
        taught = self.model.logits(images)
        pairs = ((logits[head], taught[head]) for head in self.heads)
        return (pair for pair in pairs if pair[0].shape[1] > 1)


class EEIL(SupervisedTemplate):  # type: ignore[misc]
    """End-to-end incremental learning: cross-distilled loss and balanced fine-tuning.

    Each experience after the first has two stages. Stage 1 trains on the new data and the memory,
    concatenated or, with `batch_size_mem`, in batches with a fixed number of exemplars. All old
    heads are distilled from the network before the experience. Then the memory stores exemplars of
    the new classes, with equal bytes for old and new classes. Stage 2 fine-tunes on the memory
    only; the newest head is also distilled, from the network after stage 1. A memory that depends
    on the network is selected again after stage 2.

    Distillation targets must be for the student's inputs. Images are augmented in each batch, so
    each teacher needs a forward pass on the same batch. Stored logits are those of the images
    without augmentation; they are updated when the images are stored, and again after stage 2.

    Avalanche's `num_workers`, `shuffle` and `drop_last` have no effect: batches are taken from
    tensors. The learning rate of each epoch is that of `config`, whatever a scheduler sets after
    an epoch. Early stopping ends a stage, not the experience. Training raises a `UserError` if
    weights become infinite or NaN.

    The memory may be any Avalanche `ExemplarsBuffer`. Buffers of `continual.storage_policy` and
    experiences of `continual.streams` are used as tensors; others are read once in each stage, and
    once for each update of the memory.

        model = with_heads("domain", condense.build(Network(), (3, 32, 32), 10, draws))
        strategy = EEIL(model=model, memory=CondensedBuffer(images_per_class=10))
        strategy.train(benchmark.train_stream)
    """

    def __init__(
        self,
        *,
        model: MultiHead,
        memory: ExemplarsBuffer,
        config: EEILConfig | None = None,
        distill: bool = True,
        augmentation: tuple[str, ...] = ("color", "crop"),
        seed: int = 0,
        plugins: Sequence[SupervisedPlugin] | None = None,
        **base_kwargs: Unpack[BaseKwargs],
    ) -> None:
        """Set up the strategy.

        Args:
            model: feature extractor with heads (`continual.heads`).
            memory: buffer of exemplars.
            config: settings; default: those of the paper.
            distill: whether old heads are distilled.
            augmentation: operations of `condense.augment`; one is sampled for each batch. Empty: no
                augmentation.
            seed: seed of the data order, the augmentation and the noise.
            plugins: as for any Avalanche strategy, but for those that make its batches.
            base_kwargs: `device`, `evaluator`, `eval_every` and `eval_mb_size`, as for any
                Avalanche strategy.

        Raises:
            UserError: `er_ace` with other heads than `ClassHeads`, a plugin that would replace the
                batches, or an argument of another class.
        """
        self.config = config or EEILConfig()
        _require_fitting(self.config, model, memory, plugins or ())
        self.memory = memory
        self.distill = distill
        self.augmentation = augmentation if self.config.augment else ()
        self.seed = seed
        self.teachers: list[Teacher] = []
        self.new_classes = torch.empty(0, dtype=torch.int64)
        """New classes of the current experience."""
        self.stage = Stage("first", self.config.epochs_first, self.config.lr, 4)
        self.epoch = -1
        """Current epoch of the stage, from 0."""
        self._logits: list[Tensor] = []
        self._draws: dict[str, torch.Generator] = {}
        self._numbers = ExperienceNumbers()
        self._trained: list[int] = []
        super().__init__(
            model=model,
            optimizer=_optimizer(model, self.config),
            train_mb_size=self.config.batch_size,
            train_epochs=self.stage.epochs,
            plugins=[*(plugins or ()), _EEILPlugin()],
            **{"eval_mb_size": EVAL_BATCH_SIZE, **base_kwargs},
        )
        for plugin in self.plugins:
            if isinstance(plugin, PeriodicEval):
                plugin.do_initial = False  # the model has no head before training

    def begin_experience(self) -> None:
        """Start stage 1 and copy the teacher, before the network is adapted."""
        config, old = self.config, len(self.model.heads)
        self._trained.append(self._numbers.of(self.experience, self._trained))
        self.teachers = []
        if self.distill and old:
            self.teachers.append(Teacher.of(self.model, range(old)))
        self.new_classes = torch.tensor(classes_of(self.experience), device=self.device)
        epochs = config.epochs if old else config.epochs_first
        self._enter(Stage("main" if old else "first", epochs, config.lr, 4))

    def _train_exp(self, experience: Any, eval_streams: Any = None, **kwargs: Any) -> None:
        """Stage 1, the update of the memory, and stage 2."""
        super()._train_exp(experience, eval_streams, **kwargs)
        self._require_finite()
        self.memory.post_adapt(self, experience)
        self._update_logits()
        if self.stage.name == "first" or not self.config.finetune_epochs:
            return
        if self.distill:
            self.teachers.append(Teacher.of(self.model, [self.model.newest]))
        config, before = self.config, self.stage.epochs
        self._enter(Stage("finetune", config.finetune_epochs, config.finetune_lr, 3, before))
        self.make_optimizer()
        self.make_train_dataloader()
        self._let_stage_run()
        super()._train_exp(experience, eval_streams, **kwargs)
        self._require_finite()
        if getattr(self.memory, "follows_network", False):
            self.memory.post_adapt(self, experience)
        self._update_logits()

    def _let_stage_run(self) -> None:
        """Let a stage begin after an early stop, which ends only the stage before."""
        self._stop_training = False
        for plugin in self.plugins:
            if isinstance(plugin, EarlyStoppingPlugin):
                # Without new epochs since its best one, it would stop this stage at once.
                plugin.before_training_exp(self)

    def _require_finite(self) -> None:
        if not all(bool(weights.isfinite().all()) for weights in self.model.state_dict().values()):
            number = self.experience.current_experience + 1
            flag = "--finetune-lr" if self.stage.name == "finetune" else "--lr"
            raise UserError(
                f"training diverged in task {number}, seed {self.seed}: use a lower {flag}"
            )

    def _update_logits(self) -> None:
        """Store logits with the exemplars of this experience, if `store_logits` is set."""
        if getattr(self.memory, "store_logits", False):
            self.memory.update_logits(self.experience, self._logits_of)

    def _logits_of(self, samples: Samples) -> Tensor:
        return network_logits(self.model, samples.to(self.device), self.eval_mb_size)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        self.epoch = -1
        self.train_epochs = stage.epochs
        number, names = self._trained[-1], ("order", "augmentation", "noise")
        again = self._trained.count(number) - 1  # passes before over the same experience
        more = [again] if again else []
        self._draws = {
            name: generator(self.seed, name, number, stage.name, *more) for name in names
        }
        # The noise has as many elements as the network, so it is sampled on the same device.
        noise = torch.Generator(self.device).manual_seed(self._draws["noise"].initial_seed())
        self._draws["noise"] = noise

    def make_optimizer(self, **kwargs: Any) -> None:
        """Reset the optimizer state: every stage starts without momentum."""
        super().make_optimizer(reset_optimizer_state=True)

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Batches of new data and memory in stage 1, of memory only in stage 2."""
        config, tuning = self.config, self.stage.name == "finetune"
        sources = [] if tuning else [_samples(self.experience)]
        sources = [source.to(self.device) for source in [*sources, *_exemplars_of(self.memory)]]
        steps = config.finetune_steps_per_epoch if tuning else config.steps_per_epoch
        batches = config.batch_size, self._draws["order"], steps
        self.dataloader: BatchLoader
        if config.batch_size_mem is not None and len(sources) == 2:
            new, memory = sources
            self.dataloader = RehearsalLoader(new, memory, config.batch_size_mem, *batches)
        else:
            self.dataloader = BatchLoader(sources, *batches)

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        """Batches of the experience, in order."""
        self.dataloader = BatchLoader([_samples(self.experience)], self.eval_mb_size)

    def begin_epoch(self) -> None:
        """Increment the epoch and set its learning rate."""
        self.epoch += 1
        lr = learning_rate(self.stage.lr, self.epoch, self.stage.epochs, self.stage.phases)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def augment(self) -> None:
        """Augment the current batch, with separate parameters for each image."""
        if self.augmentation:
            draws = self._draws["augmentation"]
            self.mbatch[0] = augment_batch(self.mb_x, self.augmentation, draws)

    def add_noise(self) -> None:
        """Add Gaussian noise to the gradients, with the scale of the current epoch."""
        config = self.config
        if config.noise:
            number = self.stage.epochs_before + self.epoch + 1
            scale = noise_scale(number, config.noise_eta, config.noise_gamma)
            parameters = list(self.model.parameters())
            add_gradient_noise(parameters, scale, len(self.mb_x), self._draws["noise"])

    def forward(self) -> Tensor:
        """Logits of the current batch over all possible classes of its samples."""
        self._logits = self.model.logits(self.mb_x)
        scores: Tensor = self.model.combine(self._logits, self.mb_task_id)
        return scores

    def criterion(self) -> Tensor:
        """The cross-distilled loss plus the DER loss of stored logits.

        At test: the cross-entropy over the classes so far.
        """
        if self.is_eval:
            return cross_entropy_of_known(self.mb_output, self.mb_y)
        taught = [
            pair for teacher in self.teachers for pair in teacher.pairs(self.mb_x, self._logits)
        ]
        temperature = self.config.temperature
        output = self.mb_output
        several = len(self.new_classes) > 1  # images of a single new class would have no gradient
        if self.config.er_ace and several and self.stage.name == "main":
            output = er_ace_logits(output, self.mb_y, self.new_classes)
        loss = cross_distilled(output, self.mb_y, taught, temperature)
        if len(self.mbatch) == 4:
            loss = loss + der_loss(self.mb_output, self.mbatch[2], temperature)
        return loss


class _EEILPlugin(SupervisedPlugin):  # type: ignore[misc]
    """Calls the strategy in callbacks that Avalanche's loop has only for plugins."""

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
        strategy._logits = []  # tensors of an autograd graph prevent a deepcopy of the strategy


def _require_fitting(
    config: EEILConfig,
    model: MultiHead,
    memory: ExemplarsBuffer,
    plugins: Sequence[SupervisedPlugin],
) -> None:
    require_class("config", config, EEILConfig)
    require_class("model", model, MultiHead)
    require_class("memory", memory, ExemplarsBuffer)
    if config.er_ace and not isinstance(model, ClassHeads):
        raise UserError("er_ace needs a network with heads of kind class (ClassHeads)")
    for plugin in plugins:
        if isinstance(plugin, MAKES_BATCHES):
            raise UserError(
                f"{type(plugin).__name__} would replace the batches of EEIL, which has its own "
                "replay: give the buffer as `memory`"
            )


def _optimizer(model: MultiHead, config: EEILConfig) -> torch.optim.SGD:
    return torch.optim.SGD(
        model.parameters(),
        config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )


def _samples(experience: Any) -> Samples:
    """Tensors of the experience, or its dataset read once with the evaluation transforms."""
    samples: Samples | None = getattr(experience, "samples", None)
    return samples if samples is not None else read(experience.dataset.eval())


def _exemplars_of(memory: ExemplarsBuffer) -> list[Samples]:
    if hasattr(memory, "samples"):
        samples = memory.samples  # decoded by this access
        return [] if samples is None else [samples]
    return [read(memory.buffer.eval())] if len(memory.buffer) else []
