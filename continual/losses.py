"""The formulas of EEIL (Castro et al. 2018, "End-to-End Incremental Learning"), and the losses of
ER-ACE and DER, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """Cross-entropy between the softened outputs of one head and of its teacher (eq. 3).

    The softmax is over the classes of the head. There is no factor T² against the smaller gradient.

    Args:
        logits: logits of the student's head, [n, classes].
        teacher: logits of the same head of the teacher for the same images, [n, classes].
        temperature: T; both logits are divided by it.

    Returns:
        The mean over the n images.
    """
    return F.cross_entropy(logits / temperature, (teacher / temperature).softmax(1))


def cross_distilled(
    output: Tensor,
    labels: Tensor,
    taught: Iterable[tuple[Tensor, Tensor]],
    temperature: float = 2.0,
) -> Tensor:
    """Cross-entropy over all heads plus the distillation loss of every old head (eq. 1).

    Args:
        output: logits over all possible classes of the samples, [n, all classes].
        labels: [n].
        taught: (student, teacher) logits of each distilled head, for all n samples (new samples
            and exemplars).
        temperature: temperature of the distillation.
    """
    loss = F.cross_entropy(output, labels)
    for logits, teacher in taught:
        loss = loss + distillation(logits, teacher, temperature)
    return loss


def er_ace_logits(output: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """Logits with -inf for old classes in samples of new classes.

    Their cross-entropy is that of ER-ACE (Caccia et al. 2022): new samples do not reduce the logits
    of old classes.

    Args:
        output: logits over all classes so far, [n, classes].
        labels: [n].
        new: the new classes, on the device of the logits.
    """
    is_new = torch.zeros(output.shape[1], dtype=torch.bool, device=output.device)
    is_new[new] = True
    return output.masked_fill(is_new[labels][:, None] & ~is_new, -torch.inf)


def der_loss(output: Tensor, stored: Tensor, temperature: float = 2.0) -> Tensor:
    """Distillation from the logits that are stored with the samples.

    DER (Buzzega et al. 2020) with the loss of Hinton et al. 2015: the factor T² compensates for the
    smaller gradient.

    Args:
        output: logits over all classes so far, [n, classes].
        stored: stored logits over the first k of these classes, [n, k]. Missing logits are not
            finite and are ignored.
        temperature: T.

    Returns:
        The sum over the samples with stored logits, divided by n.
    """
    known = stored.isfinite()
    some = known.any(1)
    known, stored, output = known[some], stored[some].float(), output[some, : stored.shape[1]]

    def softened(logits: Tensor) -> Tensor:
        return (logits / temperature).masked_fill(~known, -torch.inf)

    entropy = softened(stored).softmax(1) * softened(output).log_softmax(1).where(known, 0)
    return -(temperature**2) * entropy.sum() / len(some)


def cross_entropy_of_known(output: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the samples whose class has an output; NaN if there is none."""
    known = labels < output.shape[1]
    own = output.gather(1, labels.where(known, 0)[:, None])[:, 0]
    return F.cross_entropy(output, labels.masked_fill(~known | own.isinf(), -100))


def noise_scale(epoch: int, eta: float = 0.3, gamma: float = 0.55) -> float:
    """Standard deviation η / (1 + epoch)^γ of the noise on the batch-summed gradient.

    Epochs count from 1 and continue through the fine-tuning, as in the code of EEIL's authors.
    """
    return float(eta * (1 + epoch) ** -gamma)


def add_gradient_noise(
    parameters: Sequence[nn.Parameter], scale: float, batch: int, generator: torch.Generator
) -> None:
    """Add N(0, scale²) to the batch-summed gradient, in place.

    The gradients here are of the mean over `batch` samples, so the noise is divided by `batch`.
    The generator must be on the parameters' device.
    """
    noisy = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sizes = [gradient.numel() for gradient in noisy]
    drawn = torch.randn(sum(sizes), generator=generator, device=generator.device)
    for gradient, noise in zip(noisy, drawn.split(sizes), strict=True):
        gradient.add_(noise.view_as(gradient), alpha=scale / batch)


def learning_rate(initial: float, epoch: int, epochs: int, phases: int) -> float:
    """`initial` divided by 10 after each of `phases` equal parts of the schedule.

    `epoch` counts from 0. Four phases of 40 epochs are the paper's "÷10 every 10 epochs"; the
    milestones of other schedules are scaled to their length.
    """
    return float(initial / 10 ** (epoch * phases // epochs))
