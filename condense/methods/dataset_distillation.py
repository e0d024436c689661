"""Dataset distillation: DD (Wang, Zhu, Torralba & Efros 2018, Algorithm 1).

A network that takes a few gradient descent steps on the synthetic images should have a low loss on
real images. The gradient of this loss is backpropagated through all steps to the images and the
learning rates. A set is valid for these steps only, so it includes the learning rates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.unrolled import DatasetDistillation, UnrolledImages
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.initialisation import images_like, initial_images
from condense.methods.optimisation import require_finite
from condense.methods.selection import NO_GRADIENT, require_images, require_several_classes
from condense.methods.unrolled import Weights, descend, logits_at
from condense.models.build import Classifier, build, initialise
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.runs.state_dicts import restore_state, state_of
from condense.seeds import generator
from condense.training.chunking import has_batch_norm

BETAS = (0.5, 0.999)
"""Betas of Adam for images and learning rates; as in the authors' code."""


def condense_by_dataset_distillation(
    data: ImageData, settings: DatasetDistillation, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class, with the learnt learning rates.

    Args:
        data: the training set; the computation runs on its device.
        settings: the settings of the method.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a setting is invalid, a class has too few images, or there is only one class.
    """
    require_images(data, settings.ipc)
    distiller, before = Distiller(data, settings, seed), checkpointer.restore()
    if before:  # the initial images are not needed
        images = images_like(data, settings)
    else:
        images = initial_images(data, settings, seed, checkpointer)
    learnt = {"images": images.requires_grad_()}
    return distil(distiller, learnt, lambda: images, learning_rate, checkpointer, before)


def learning_rate(settings: DatasetDistillation, k: int) -> float:
    """The learning rate of Adam in iteration k: halved after each tenth of the iterations."""
    return settings.lr_img * 0.5 ** (10 * k // settings.iterations)


def distil(
    distiller: Distiller,
    learnt: dict[str, Tensor],
    images: Callable[[], Tensor],
    learning_rate: Callable[[Any, int], float],
    checkpointer: Checkpointer,
    before: Checkpoint | None,
) -> CondensedSet:
    """Adam's steps of all that is learnt and of the learning rates; the set of the last images.

    Args:
        distiller: gives the gradients.
        learnt: leaves, by name, on which the images depend.
        images: the images, [classes, ipc, c, h, w], differentiable in `learnt`.
        learning_rate: that of Adam, of the settings and the number of the iteration.
        checkpointer: receives progress and checkpoints.
        before: what `checkpointer.restore()` returned: the checkpoint of an interrupted run.

    Raises:
        UserError: the loss is not finite, or a checkpoint does not fit.
    """
    settings, start = distiller.settings, 0
    raw = distiller.initial_raw().requires_grad_()
    every = {**learnt, "raw": raw}
    optimizer = torch.optim.Adam(every.values(), settings.lr_img, BETAS)
    if before:
        start = before.count("iteration", settings.iterations)
        for name, tensor in every.items():
            tensor.data = before.tensor(name, tensor.detach())
        restore_state("optimizer", optimizer, before)
    for k in range(start, settings.iterations):
        optimizer.param_groups[0]["lr"] = learning_rate(settings, k)
        optimizer.zero_grad()
        made = images()
        of_images, raw.grad, loss = distiller.gradients(made.detach().requires_grad_(), raw, k)
        made.backward(of_images)
        optimizer.step()
        require_finite(float(loss), k)
        checkpointer.report(k + 1, settings.iterations, loss=float(loss))
        tensors = {**every, **state_of("optimizer", optimizer)}
        checkpointer.save(Checkpoint(tensors, {"iteration": k + 1}))
    labels = distiller.classes.repeat_interleave(settings.ipc)
    flat, lrs = images().detach().flatten(0, 1), F.softplus(raw.detach()).cpu()
    return CondensedSet.from_normalised(flat, labels, distiller.data, lrs)


class Distiller:
    """The unrolled training: the loss as a function of images and learning rates."""

    def __init__(self, data: ImageData, settings: UnrolledImages, seed: int) -> None:
        require_several_classes(data, f"{NO_GRADIENT}, so there is nothing to learn")
        self.data, self.settings, self.seed = data, settings, seed
        self.classes = torch.arange(data.classes, device=data.device)
        network = build(settings.network, data.shape, data.classes, device=data.device)
        if has_batch_norm(network):
            raise UserError(
                "dd and gtn train for a few steps, too few for the running statistics of a batch "
                "norm: choose another norm"
            )
        self.network = network.train()

    def initial_raw(self) -> Tensor:
        """Initial `raw`, [epochs, steps]; softplus(raw) are the learning rates, always above 0."""
        size = (self.settings.distill_epochs, self.settings.steps_an_epoch())
        # The inverse of softplus, log(exp(lr) − 1), without overflow.
        lr = self.settings.distill_lr
        raw = lr + math.log(-math.expm1(-lr))
        return torch.full(size, raw, device=self.data.device)

    def gradients(self, images: Tensor, raw: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of the loss of iteration k w.r.t. `images` and `raw`, and the loss.

        It is the loss on a real batch after training, averaged over the networks. Each network has
        its own initial weights, unless they are fixed.
        """
        settings, draws = self.settings, generator(self.seed, "iteration", k)
        fixed = settings.init_weights == "fixed"
        networks = 1 if fixed else settings.networks
        real = torch.randperm(len(self.data.x_train), generator=draws)[: settings.batch_real]
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

    def loss(self, images: Tensor, lrs: Tensor, real: Tensor) -> Tensor:
        """The loss of the trained network on real images, rows `real` of the training split."""
        weights = trained(self.network, images, lrs)
        logits = logits_at(self.network, weights, self.data.normalise(self.data.x_train[real]))
        return F.cross_entropy(logits, self.data.y_train[real])


def trained(network: Classifier, images: Tensor, lrs: Tensor) -> Weights:
    """The weights of `network` after gradient descent on `images`: the last of `training`."""
    *_, weights = training(network, images, lrs)
    return weights


def training(network: Classifier, images: Tensor, lrs: Tensor) -> Iterator[Weights]:
    """The weights of `network` after each step of gradient descent on `images`; differentiable.

    Args:
        network: gives the initial weights; it is not changed.
        images: [classes, ipc, c, h, w], normalised.
        lrs: [epochs, steps]; step s of an epoch uses the s-th share of each class's images.
    """
    weights: Weights = dict(network.named_parameters())
    shares = images.chunk(lrs.shape[1], dim=1)
    for epoch in lrs:
        for share, rate in zip(shares, epoch, strict=True):
            classes, count = share.shape[:2]
            labels = torch.arange(classes, device=images.device).repeat_interleave(count)
            weights = descend(network, weights, share.flatten(0, 1), labels, rate)
            yield weights
