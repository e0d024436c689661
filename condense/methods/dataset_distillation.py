"""Dataset distillation: DD (Wang, Zhu, Torralba & Efros 2018, Algorithm 1).

A network that makes a few steps of gradient descent on the images should do well on real ones: the
gradient of its loss there is taken back through all the steps, to the images and to the learning
rates. A set is meant for these steps and no others, so it carries the rates.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.checkpoints import restore_state, state_of
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.journal import Checkpoint, Journal
from condense.methods.coresets import require_images
from condense.methods.images import images_like, initial_images, require_finite
from condense.methods.unrolled import Weights, descend, logits_at
from condense.networks import Classifier, build, initialise
from condense.seeds import generator
from condense.unrolled_settings import DatasetDistillation

BETAS = (0.5, 0.999)
"""Of Adam, which moves images and rates; as in the authors' code."""


def condense_by_dataset_distillation(
    data: ImageData, settings: DatasetDistillation, seed: int, journal: Journal
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class, with the rates that were learnt for it.

    Args:
        data: the training set; its device is the one that is computed on.
        settings: the steps to learn for, and how.
        seed: the k-th iteration draws from a stream of its own, made of the seed and k.
        journal: told of every iteration; an interrupted run goes on from it.

    Raises:
        UserError: for a setting that makes no sense, or a class with too few images.
    """
    require_images(data, settings.ipc)
    distiller = Distiller(data, settings, seed)
    before = journal.restore()
    if before:
        start = before.count("iteration", settings.iterations)
        images = before.tensor("images", images_like(data, settings))
        raw = before.tensor("raw", distiller.initial_raw())
    else:
        start, images, raw = 0, initial_images(data, settings, seed), distiller.initial_raw()
    learnt = [images.requires_grad_(), raw.requires_grad_()]
    optimizer = torch.optim.Adam(learnt, settings.image_lr, BETAS)
    if before:
        restore_state("optimizer", optimizer, before)
    for k in range(start, settings.iterations):
        optimizer.param_groups[0]["lr"] = learning_rate(settings, k)
        images.grad, raw.grad, loss = distiller.gradients(images, raw, k)
        optimizer.step()
        require_finite(float(loss), k)
        journal.report(k + 1, settings.iterations, loss=float(loss))
        tensors = {"images": images, "raw": raw, **state_of("optimizer", optimizer)}
        journal.save(Checkpoint(tensors, {"iteration": k + 1}))
    labels = distiller.classes.repeat_interleave(settings.ipc)
    rates = F.softplus(raw.detach()).cpu()
    return CondensedSet.from_normalised(images.flatten(0, 1), labels, data, rates)


def learning_rate(settings: DatasetDistillation, k: int) -> float:
    """Of images and rates in the k-th iteration: halved after each tenth of all."""
    return settings.image_lr * 0.5 ** (10 * k // settings.iterations)


class Distiller:
    """The training that is learnt through, from the images and the rates to a loss."""

    def __init__(self, data: ImageData, settings: DatasetDistillation, seed: int) -> None:
        self.data, self.settings, self.seed = data, settings, seed
        self.classes = torch.arange(data.classes, device=data.device)
        self.network = build(settings.network, data.shape, data.classes).to(data.device).train()

    def initial_raw(self) -> Tensor:
        """What the rates are the softplus of, [epochs, steps], so that they stay above 0."""
        size = (self.settings.epochs, self.settings.steps_an_epoch())
        raw = math.log(math.expm1(self.settings.rate))
        return torch.full(size, raw, device=self.data.device)

    def gradients(self, images: Tensor, raw: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """∇ of the k-th iteration's loss with respect to `images` and `raw`, and the loss.

        The loss on a real batch after training, averaged over the networks, each of which begins
        with weights of its own, where they are not fixed.
        """
        settings, draws = self.settings, generator(self.seed, "iteration", k)
        fixed = settings.weights == "fixed"
        networks = 1 if fixed else settings.networks
        real = torch.randperm(len(self.data.x_train), generator=draws)[: settings.real_batch]
        total = torch.zeros((), device=images.device)
        to_images, to_raw = torch.zeros_like(images), torch.zeros_like(raw)
        for _ in range(networks):
            initialise(self.network, generator(self.seed, "fixed weights") if fixed else draws)
            loss = self.loss(images, F.softplus(raw), real) / networks
            of_images, of_raw = torch.autograd.grad(loss, [images, raw])
            to_images += of_images
            to_raw += of_raw
            total += loss.detach()
        return to_images, to_raw, total

    def loss(self, images: Tensor, rates: Tensor, real: Tensor) -> Tensor:
        """The loss on real images, rows `real` of the training split, of the network as trained."""
        weights = trained(self.network, images, rates)
        logits = logits_at(self.network, weights, self.data.normalise(self.data.x_train[real]))
        return F.cross_entropy(logits, self.data.y_train[real])


def trained(network: Classifier, images: Tensor, rates: Tensor) -> Weights:
    """The weights of `network` after gradient descent on `images`; differentiable in all.

    Args:
        network: gives the initial weights, and keeps them.
        images: [classes, ipc, c, h, w], normalised.
        rates: [epochs, steps]; in each epoch step s is on the s-th share of each class's images.
    """
    weights: Weights = dict(network.named_parameters())
    shares = images.chunk(rates.shape[1], dim=1)
    for epoch in rates:
        for share, rate in zip(shares, epoch, strict=True):
            classes, count = share.shape[:2]
            labels = torch.arange(classes, device=images.device).repeat_interleave(count)
            weights = descend(network, weights, share.flatten(0, 1), labels, rate)
    return weights
