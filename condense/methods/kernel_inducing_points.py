"""Kernel inducing points: KIP (Nguyen, Chen & Lee 2021, Algorithm 1).

Kernel ridge regression on the synthetic images (the support) predicts the labels of sampled real
images (the targets). The gradient of its squared loss optimises the synthetic images. The kernel is
the neural tangent kernel of a wide network, so no network is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.kernel import KernelInducingPoints
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.learnt_labels import make_probabilities
from condense.methods.optimisation import learning_rate, optimise_images
from condense.methods.real_batches import real_rows
from condense.methods.selection import require_images, require_several_classes
from condense.methods.synthetic import SyntheticImages, optimizer_of
from condense.models.tangent_kernel import KEPT, tangent_kernel
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.runs.state_dicts import restore_state, state_of
from condense.seeds import generator
from condense.storage.capacity import images_per_class
from condense.system.memory import check_memory
from condense.system.notes import note
from condense.training.chunking import MIN_CHUNK, chunk_size_for, chunks
from condense.training.threads import map_chunks, worker_threads


def condense_by_kernel_inducing_points(
    data: ImageData, settings: KernelInducingPoints, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set; the computation runs on its device.
        settings: the kernel, the regression, and the steps of the images.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a setting is invalid, a class has too few images, there is only one class, or the
            device has no float64.
    """
    _require_float64(data)
    require_images(data, settings.ipc)
    require_several_classes(data, "its centred label is zero, so there is nothing to regress")
    labels = SupportLabels(data, settings)

    def step(synthetic: SyntheticImages, k: int) -> float:
        draws, lr = generator(seed, "iteration", k), learning_rate(settings, k)
        targets = torch.cat(real_rows(data, settings.batch_real, draws))
        sample, all_labels = synthetic.sample(settings.batch_syn, draws), labels.values.detach()
        support = torch.cat([sample.images.flatten(2), sample.of(all_labels)], 2)
        gradient, loss = regression_gradient(support, data, targets, settings)
        of_images, of_labels = gradient.tensor_split([-data.classes], 2)
        synthetic.step(sample, of_images.reshape(sample.images.shape), lr)
        labels.step(sample.spread(of_labels, all_labels.shape[1]), lr)
        return float(loss)

    with worker_threads(data.device):
        made = optimise_images(data, settings, seed, checkpointer, step, labels, metric="loss")
    if not settings.learn_labels:
        return made
    return replace(made, labels=labels.values.detach().flatten(0, 1).cpu())


class SupportLabels:
    """The labels of the synthetic images, one-hot at first; fixed or learnt."""

    def __init__(self, data: ImageData, settings: KernelInducingPoints) -> None:
        classes, count = data.classes, images_per_class(data, settings)
        one_hot = torch.eye(classes, device=data.device)
        self.values = one_hot[:, None].expand(classes, count, classes).contiguous()
        """float32 [classes, n, classes], probabilities."""
        self._optimizer = None
        if settings.learn_labels:
            self._optimizer = optimizer_of([self.values.requires_grad_()], settings)

    def step(self, gradient: Tensor, lr: float) -> None:
        """One step of the optimizer, after which the labels are made probabilities again."""
        if self._optimizer is None:
            return
        self.values.grad = gradient.contiguous()
        self._optimizer.param_groups[0]["lr"] = lr
        self._optimizer.step()
        make_probabilities(self.values)

    def state(self) -> dict[str, Tensor]:
        """Named tensors for a checkpoint."""
        if self._optimizer is None:
            return {}
        return {"labels": self.values.detach(), **state_of("label_optimizer", self._optimizer)}

    def restore(self, before: Checkpoint) -> None:
        """Load what `state` returned.

        Raises:
            UserError: the checkpoint does not fit.
        """
        if self._optimizer is None:
            return
        self.values.data = before.tensor("labels", self.values.detach())
        restore_state("label_optimizer", self._optimizer, before)


def regression_gradient(
    support: Tensor, data: ImageData, targets: Tensor, settings: KernelInducingPoints
) -> tuple[Tensor, Tensor]:
    """The gradient of the loss of the targets with respect to `support`, and the loss.

    Args:
        support: [classes, n, numbers of an image + classes]: normalised images and their labels.
        data: the real images.
        targets: rows of the training images, int64 [t].
        settings: the kernel and the regularisation.

    Raises:
        UserError: the kernel's matrix cannot be inverted.
    """
    points = support.detach().flatten(0, 1).double().requires_grad_()
    images, labels = points.tensor_split([-data.classes], 1)
    weights = ridge_weights(images, labels - 1 / data.classes, settings)
    fixed = images.detach(), weights.detach()

    def gradients(chunk: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in fixed]
        real = data.normalise(data.x_train[chunk]).double()
        predicted = kernel_of(real, leaves[0], settings) @ leaves[1]
        wanted = F.one_hot(data.y_train[chunk], data.classes).double() - 1 / data.classes
        loss = (predicted - wanted).square().sum() / (2 * len(targets) * data.classes)
        return (*torch.autograd.grad(loss, leaves), loss.detach())

    # The images act on the predictions directly, and through the weights.
    of_images, of_weights = torch.zeros_like(images), torch.zeros_like(weights)
    total = torch.zeros((), dtype=points.dtype, device=points.device)
    for to_images, to_weights, loss in map_chunks(gradients, _chunks(targets, points, settings)):
        of_images += to_images
        of_weights += to_weights
        total += loss
    (gradient,) = torch.autograd.grad((images, weights), points, (of_images, of_weights))
    return gradient.to(support.dtype).view_as(support), total


def ridge_weights(images: Tensor, labels: Tensor, settings: KernelInducingPoints) -> Tensor:
    """(K + λ tr(K) / n · I)⁻¹ y, where K is the kernel of the images; differentiable.

    Args:
        images: float64 [n, ...].
        labels: y, float64 [n, classes].
        settings: the kernel, and λ.

    Raises:
        UserError: the matrix is singular or not finite.
    """
    count = len(images)
    needed = 8 * count**2 * KEPT * (1 + settings.kernel_depth)
    what = f"the kernel of {count} synthetic images: choose a smaller --batch-syn or --ipc, as it"
    check_memory(needed, what)
    kernel = kernel_of(images, images, settings)
    ridge = settings.reg * kernel.trace() / count
    eye = torch.eye(count, dtype=kernel.dtype, device=kernel.device)
    factor, failed = torch.linalg.cholesky_ex(kernel + ridge * eye)
    if failed:
        raise UserError(
            "the kernel of the synthetic images cannot be inverted: use a larger --reg or lower "
            "learning rates"
        )
    return torch.cholesky_solve(labels, factor)


def kernel_of(first: Tensor, second: Tensor, settings: KernelInducingPoints) -> Tensor:
    """`tangent_kernel` with these settings."""
    depth, w_std, b_std = settings.kernel_depth, settings.w_std, settings.b_std
    return tangent_kernel(first, second, depth, w_std, b_std)


def kernel_metrics(
    condensed: CondensedSet, data: ImageData, settings: KernelInducingPoints
) -> dict[str, float]:
    """The test accuracy of kernel ridge regression on the set, for the summary of a run.

    If the kernel of all images does not fit into memory, there is a note instead.
    """
    try:
        return {"kernel_accuracy": kernel_accuracy(condensed, data, settings)}
    except UserError as error:  # the set is made and tested: its run does not fail here
        note(f"no kernel accuracy: {error}")
        return {}


@torch.no_grad()
def kernel_accuracy(
    condensed: CondensedSet, data: ImageData, settings: KernelInducingPoints
) -> float:
    """Test accuracy of kernel ridge regression on the set, from 0 to 1.

    Raises:
        UserError: the kernel's matrix cannot be inverted, or the device has no float64.
    """
    _require_float64(data)
    images = condensed.normalised(data).to(data.device).double()
    labels = condensed.targets.to(data.device)
    if labels.ndim == 1:
        labels = F.one_hot(labels, data.classes)
    weights = ridge_weights(images, labels.double() - 1 / data.classes, settings)
    rows = torch.arange(len(data.y_test), device=data.device)
    correct = 0
    for chunk in _chunks(rows, images, settings):
        real = data.normalise(data.x_test[chunk]).double()
        predicted = (kernel_of(real, images, settings) @ weights).argmax(1)
        correct += int((predicted == data.y_test[chunk]).sum())
    return correct / len(rows)


def _require_float64(data: ImageData) -> None:
    if data.device.type == "mps":
        raise UserError(
            "kip needs float64, which mps does not have: use --device cpu, or another method"
        )


def _chunks(rows: Tensor, support: Tensor, settings: KernelInducingPoints) -> Iterator[Tensor]:
    """The rows in chunks whose kernel with the support fits into memory."""
    item = 8 * len(support) * KEPT * (1 + settings.kernel_depth)
    size = chunk_size_for(rows.device, item, MIN_CHUNK)
    return (rows[chunk] for chunk in chunks(len(rows), size))
