"""Label distillation: LD (Bohdal, Yang & Hospedales 2020, Algorithm 1, second order).

The images are real ones and stay as they are; what is learnt is a soft label for each. A network
that makes a step on some of them should do well on real images: the gradient of its loss there is
taken through the step to the labels. Then the network really makes a step on the new labels (in the
authors' code, on the labels of before), and so the labels get to see networks all along their
training, and again with fresh ones. The authors test the labels that did best on images held out,
for as many steps of Adam as networks lived; here the last labels are tested as all sets are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from statistics import fmean

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.checkpoints import restore_state, state_of
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.journal import Checkpoint, Journal
from condense.methods.coresets import choose_randomly, set_of_rows
from condense.methods.images import require_finite
from condense.methods.unrolled import Weights, descend, logits_at
from condense.networks import build, initialise
from condense.seeds import generator
from condense.unrolled_settings import LabelDistillation

SMALLEST = 1e-6
"""The least probability that a label has before it is normalised: no row can be all zero."""


def condense_by_label_distillation(
    data: ImageData, settings: LabelDistillation, seed: int, journal: Journal
) -> CondensedSet:
    """Real images, drawn at random, `settings.ipc` of each class, and a learnt label for each.

    Args:
        data: the training set; its device is the one that is computed on.
        settings: how labels and networks are trained.
        seed: the k-th step and the j-th network each draw from a stream of their own.
        journal: told of every step; an interrupted run goes on from it.

    Raises:
        UserError: for a class with too few images.
    """
    distiller = LabelDistiller(data, settings, seed)
    before = journal.restore()
    start = distiller.restore(before) if before else 0
    for k in range(start, settings.iterations):
        loss = distiller.step(k)
        require_finite(loss, k)
        journal.report(k + 1, settings.iterations, loss=loss)
        journal.save(distiller.checkpoint(k + 1))
    return replace(set_of_rows(data, distiller.rows), labels=distiller.labels.detach().cpu())


@dataclass
class Patience:
    """Says when errors have stopped falling: their mean over `length`, for `length` steps."""

    length: int
    errors: list[float] = field(default_factory=list)
    lowest: float | None = None
    waited: int = 0

    def exhausted(self, error: float) -> bool:
        """Whether it is so after one more error."""
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
    """One distillation: the images, their labels, and the network that learns alongside."""

    def __init__(self, data: ImageData, settings: LabelDistillation, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.rows = choose_randomly(data, settings.ipc, seed)
        self.images = data.normalise(data.x_train[self.rows.flatten()])
        self.labels = initial_labels(data, settings).requires_grad_()
        self.label_optimizer = torch.optim.Adam([self.labels], settings.label_lr)
        self.network = build(settings.network, data.shape, data.classes).to(data.device).train()
        self.begin_network(0)

    def begin_network(self, number: int) -> None:
        """Put the `number`-th fresh network in the place of the one that there is."""
        self.number = number
        initialise(self.network, generator(self.seed, "network", number))
        self.optimizer = torch.optim.Adam(self.network.parameters(), self.settings.network_lr)
        self.patience = Patience(self.settings.patience)

    def step(self, k: int) -> float:
        """One step of the labels, then one of the network; the loss on real images."""
        draws = generator(self.seed, "iteration", k)
        chosen = torch.randperm(len(self.labels), generator=draws)[: self.settings.batch]
        real = torch.randperm(len(self.data.x_train), generator=draws)[: self.settings.real_batch]
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
            The loss on the real images after the inner step, and the error, as a fraction.
        """
        data = self.data
        weights: Weights = dict(self.network.named_parameters())
        images, labels = self.images[chosen], self.labels[chosen]
        stepped = descend(self.network, weights, images, labels, self.settings.inner_lr)
        logits = logits_at(self.network, stepped, data.normalise(data.x_train[real]))
        loss = F.cross_entropy(logits, data.y_train[real])
        (self.labels.grad,) = torch.autograd.grad(loss, self.labels)
        self.label_optimizer.step()
        with torch.no_grad():
            self.labels.clamp_(min=SMALLEST)
            self.labels.div_(self.labels.sum(1, keepdim=True))
        error = (logits.argmax(1) != data.y_train[real]).float().mean()
        return float(loss.detach()), float(error)

    def update_network(self, chosen: Tensor) -> None:
        """A step of the network on these images of the set and their labels as they now are."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(self.images[chosen]), self.labels[chosen].detach())
        loss.backward()
        self.optimizer.step()

    def checkpoint(self, done: int) -> Checkpoint:
        """All that later steps depend on."""
        tensors = {
            "labels": self.labels,
            **state_of("label_optimizer", self.label_optimizer),
            **state_of("network", self.network),
            **state_of("optimizer", self.optimizer),
        }
        state = {"done": done, "number": self.number, "patience": vars(self.patience)}
        return Checkpoint(tensors, state)

    def restore(self, before: Checkpoint) -> int:
        """Go back to a checkpoint; the number of steps done there."""
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
    """What the labels start from, float32 [classes × ipc, classes]."""
    if settings.label_init == "uniform":
        size = (data.classes * settings.ipc, data.classes)
        return torch.full(size, 1 / data.classes, device=data.device)
    return torch.eye(data.classes, device=data.device).repeat_interleave(settings.ipc, 0)
