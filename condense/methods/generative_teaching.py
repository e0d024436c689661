"""Generative teaching networks: GTN (Such et al. 2020), with a learnt curriculum.

A generator makes images from inputs and classes. As in DD, a network that takes a few gradient
descent steps on these images, in their order, should have a low loss on real images, here after
every step. The gradient of this loss is backpropagated through all steps to the generator, its
inputs and the learning rates. The set has the images of all inputs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.unrolled import GenerativeTeaching
from condense.data.image_data import ImageData
from condense.methods.dataset_distillation import Distiller, distil, training
from condense.methods.selection import require_images
from condense.methods.unrolled import logits_at
from condense.models.generator import Generator
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator

LAST_LR = 0.1
"""The last learning rate of Adam, as a share of the first."""


def condense_by_generative_teaching(
    data: ImageData, settings: GenerativeTeaching, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """A set of `settings.ipc` generated images per class, with the learnt learning rates.

    Args:
        data: the training set; the computation runs on its device.
        settings: the settings of the method.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a setting is invalid, a class has too few images, or there is only one class.
    """
    require_images(data, settings.ipc)
    distiller = StepwiseDistiller(data, settings, seed)
    teacher = Teacher(data, settings, seed)
    before = checkpointer.restore()
    return distil(distiller, teacher.learnt(), teacher.images, learning_rate, checkpointer, before)


def learning_rate(settings: GenerativeTeaching, k: int) -> float:
    """The learning rate of Adam in iteration k: half a cosine from `lr_img` to a tenth of it."""
    share = (1 + math.cos(math.pi * k / settings.iterations)) / 2
    return settings.lr_img * (LAST_LR + (1 - LAST_LR) * share)


class StepwiseDistiller(Distiller):
    """The unrolled training, whose loss is averaged over its steps.

    With the loss after the last step alone, the generator learns less in as many iterations.
    """

    def loss(self, images: Tensor, lrs: Tensor, real: Tensor) -> Tensor:
        """The loss on real images, rows `real` of the training split, averaged over the steps."""
        inputs, labels = self.data.normalise(self.data.x_train[real]), self.data.y_train[real]
        losses = [
            F.cross_entropy(logits_at(self.network, weights, inputs), labels)
            for weights in training(self.network, images, lrs)
        ]
        return torch.stack(losses).mean()


class Teacher:
    """The generator and its inputs, `settings.ipc` of each class."""

    def __init__(self, data: ImageData, settings: GenerativeTeaching, seed: int) -> None:
        draws, classes, ipc = generator(seed, "init"), data.classes, settings.ipc
        self.size = (classes, ipc)
        made = Generator(settings.latent_size, classes, data.shape, settings.generator_width, draws)
        self.generator = made.to(data.device)
        inputs = torch.randn(classes * ipc, settings.latent_size, generator=draws)
        self.inputs = inputs.to(data.device).requires_grad_()
        """The curriculum, [classes · ipc, latent_size]."""
        self.one_hot = torch.eye(classes, device=data.device).repeat_interleave(ipc, 0)

    def images(self) -> Tensor:
        """The images, [classes, ipc, c, h, w], normalised."""
        images: Tensor = self.generator(self.inputs, self.one_hot)
        return images.view(*self.size, *images.shape[1:])

    def learnt(self) -> dict[str, Tensor]:
        """All that is learnt, by name."""
        return {**dict(self.generator.named_parameters()), "inputs": self.inputs}
