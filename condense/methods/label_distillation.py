"""Label distillation: LD (Bohdal, Yang & Hospedales 2020, Algorithm 1, second order).

The images are real and unchanged; a soft label is learnt for each. A network that takes a step on
some of them should have a low loss on real images: the gradient of this loss is backpropagated
through the step to the labels. Then the network takes a step on the new labels (in the authors'
code, on the old labels), so the labels are trained with networks at all stages of training; the
network is reinitialised from time to time. The authors test the labels with the best validation
accuracy, for as many Adam steps as the networks were trained; here the last labels are tested in
the same way as all other sets.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.unrolled import LabelDistillation
from condense.data.image_data import ImageData
from condense.methods.learnt_labels import make_probabilities
from condense.methods.optimisation import require_finite
from condense.methods.selection import (
    NO_GRADIENT,
    coreset_size,
    require_several_classes,
    select_randomly,
    set_of_rows,
)
from condense.methods.unrolled import Weights, descend, logits_at
from condense.models.build import build, initialise
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.runs.state_dicts import restore_state, state_of
from condense.seeds import generator


def condense_by_label_distillation(
    data: ImageData, settings: LabelDistillation, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """`settings.ipc` random real images of each class, with learnt soft labels.

    Args:
        data: the training set; the computation runs on its device.
        settings: the training of labels and networks.
        seed: each step and each network uses its own random stream.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a class has too few images, or there is only one class.
    """
    distiller = LabelDistiller(data, settings, seed)
    before = checkpointer.restore()
    start = distiller.restore(before) if before else 0
    for k in range(start, settings.iterations):
        loss = distiller.step(k)
        require_finite(loss, k)
        checkpointer.report(k + 1, settings.iterations, loss=loss)
        checkpointer.save(distiller.checkpoint(k + 1))
    return replace(distiller.set, labels=distiller.labels.detach().cpu())


@dataclass
class Patience:
    """Early stopping: the mean of the last `length` errors has not fallen for `length` steps."""

    length: int
    errors: list[float] = field(default_factory=list)
    lowest: float | None = None
    waited: int = 0

    def exhausted(self, error: float) -> bool:
        """Add an error; whether to stop."""
        self.errors = [*self.errors, error][-self.length :]
        if len(self.errors) < self.length:
            return False
        mean = fmean(self.errors)
        if self.lowest is None or mean < self.lowest:
            self.lowest, self.waited = mean, 0
        else:
            self.waited += 1
        return self.waited >= self.length


class LabelDistiller:
    """One distillation: the images, their labels, and the network."""

    def __init__(self, data: ImageData, settings: LabelDistillation, seed: int) -> None:
        require_several_classes(data, f"{NO_GRADIENT}, so there is nothing to learn")
        self.data, self.settings, self.seed = data, settings, seed
        rows = select_randomly(data, coreset_size(data, settings), seed)
        self.set = set_of_rows(data, rows, settings)
        self.images = self.set.normalised().to(data.device)
        self.labels = initial_labels(data, settings).requires_grad_()
        self.label_optimizer = torch.optim.Adam([self.labels], settings.label_lr)
        network = build(settings.network, data.shape, data.classes, device=data.device)
        self.network = network.train()
        self.begin_network(0)

    def begin_network(self, number: int) -> None:
        """Reinitialise the network, its optimizer and the early stopping; `number` is its index."""
        self.number = number
        initialise(self.network, generator(self.seed, "network", number))
        self.optimizer = torch.optim.Adam(self.network.parameters(), self.settings.lr_net)
        self.patience = Patience(self.settings.patience)

    def step(self, k: int) -> float:
        """One step of the labels, then one of the network; the loss on real images."""
        draws = generator(self.seed, "iteration", k)
        chosen = torch.randperm(len(self.labels), generator=draws)[: self.settings.batch_size]
        real = torch.randperm(len(self.data.x_train), generator=draws)[: self.settings.batch_real]
        loss, error = self.update_labels(chosen, real)
        self.update_network(chosen)
        if self.patience.exhausted(error):
            self.begin_network(self.number + 1)
        return loss

    def update_labels(self, chosen: Tensor, real: Tensor) -> tuple[float, float]:
        """ỹ ← ỹ − β ∇_ỹ L(θ − α ∇_θ L(θ; x̃, ỹ); x, y), made probabilities again.

        Args:
            chosen: which images of the set, int64 [b].
            real: which images of the training split, int64 [n].

        Returns:
            The loss on the real images after the inner step, and the error rate, from 0 to 1.
        """
        data = self.data
        weights: Weights = dict(self.network.named_parameters())
        images, labels = self.images[chosen], self.labels[chosen]
        stepped = descend(self.network, weights, images, labels, self.settings.inner_lr)
        logits = logits_at(self.network, stepped, data.normalise(data.x_train[real]))
        loss = F.cross_entropy(logits, data.y_train[real])
        (self.labels.grad,) = torch.autograd.grad(loss, self.labels)
        self.label_optimizer.step()
        make_probabilities(self.labels)
        error = (logits.argmax(1) != data.y_train[real]).float().mean()
        return float(loss.detach()), float(error)

    def update_network(self, chosen: Tensor) -> None:
        """One step of the network on these images of the set with their current labels."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(self.images[chosen]), self.labels[chosen].detach())
        loss.backward()
        self.optimizer.step()

    def checkpoint(self, done: int) -> Checkpoint:
        """The complete state after `done` steps."""
        tensors = {
            "labels": self.labels,
            **state_of("label_optimizer", self.label_optimizer),
            **state_of("network", self.network),
            **state_of("optimizer", self.optimizer),
        }
        state = {"done": done, "number": self.number, "patience": vars(self.patience)}
        return Checkpoint(tensors, state)

    def restore(self, before: Checkpoint) -> int:
        """Restore a checkpoint; returns the number of completed steps."""
        done = before.count("done", self.settings.iterations)
        self.begin_network(before.count("number", done))
        with torch.no_grad():
            self.labels.copy_(before.tensor("labels", self.labels))
        restore_state("label_optimizer", self.label_optimizer, before)
        restore_state("network", self.network, before)
        restore_state("optimizer", self.optimizer, before)
        self.patience = before.value(
            "patience", Patience, lambda kept: kept.length == self.settings.patience
        )
        return done


def initial_labels(data: ImageData, settings: LabelDistillation) -> Tensor:
    """The initial labels, float32 [classes × ipc, classes]."""
    if settings.label_init == "uniform":
        size = (data.classes * settings.ipc, data.classes)
        return torch.full(size, 1 / data.classes, device=data.device)
    return torch.eye(data.classes, device=data.device).repeat_interleave(settings.ipc, 0)
