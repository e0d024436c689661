"""EEIL's formulas as pure functions (Castro et al. 2018, "End-to-End Incremental Learning"), and
two that make more of a memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def distillation(logits: Tensor, teacher: Tensor, temperature: float = 2.0) -> Tensor:
    """Cross-entropy between one head's softened outputs and its teacher's (eq. 3).

    The softmax is within the head, and no factor T² makes up for the flatter gradient.

    Args:
        logits: of the student's head, [n, classes].
        teacher: logits of the same head of the teacher for the same images, [n, classes].
        temperature: T, by which both are divided.

    Returns:
        The mean over the n images.
    """
    targets = (teacher / temperature).softmax(1)
    return -(targets * (logits / temperature).log_softmax(1)).sum(1).mean()


def cross_distilled(
    output: Tensor,
    labels: Tensor,
    taught: Iterable[tuple[Tensor, Tensor]],
    temperature: float = 2.0,
) -> Tensor:
    """Cross-entropy over all heads plus the distillation of every old one (eq. 1).

    Args:
        output: logits over all the classes that the sample may belong to, [n, all classes].
        labels: [n].
        taught: (student's, teacher's) logits of each head that is distilled, for all n samples,
            new and remembered alike.
        temperature: of the distillation.
    """
    loss = F.cross_entropy(output, labels)
    for logits, teacher in taught:
        loss = loss + distillation(logits, teacher, temperature)
    return loss


def among_new(output: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """Logits in which samples of new classes have -inf for all others.

    Their cross-entropy is the asymmetric one (Caccia et al. 2022): it does not push old classes
    down on new samples.

    Args:
        output: logits over all the classes so far, [n, classes].
        labels: [n].
        new: the new classes, on the device of the logits.
    """
    is_new = torch.zeros(output.shape[1], dtype=torch.bool, device=output.device)
    is_new[new] = True
    return output.masked_fill(is_new[labels][:, None] & ~is_new, -torch.inf)


def answered_again(output: Tensor, answers: Tensor, temperature: float = 2.0) -> Tensor:
    """Distillation from what was answered when the samples were remembered.

    Dark experience replay (Buzzega et al. 2020), with the loss of Hinton et al. 2015: the factor T²
    makes up for the flatter gradient.

    Args:
        output: logits over all the classes so far, [n, classes].
        answers: logits of that time over the classes so far then, [n, at most as many]; a sample
            without any, and an output that there was not yet, are not finite and do not count.
        temperature: T.

    Returns:
        The sum over the samples that have answers, divided by n.
    """
    known = answers.isfinite()
    some = known.any(1)
    known, answers, output = known[some], answers[some].float(), output[some, : answers.shape[1]]

    def softened(logits: Tensor) -> Tensor:
        return (logits / temperature).masked_fill(~known, -torch.inf)

    entropy = softened(answers).softmax(1) * softened(output).log_softmax(1).where(known, 0)
    return -(temperature**2) * entropy.sum() / len(some)


def cross_entropy_of_known(output: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over the samples whose class has an output; NaN where none has."""
    return F.cross_entropy(output, labels.masked_fill(labels >= output.shape[1], -100))


def noise_scale(epoch: int, eta: float = 0.3, gamma: float = 0.55) -> float:
    """Standard deviation η / (1 + epoch)^γ of the noise on the batch-summed gradient.

    Epochs count from one and go on through the fine-tuning, as in the code of EEIL's authors.
    """
    return float(eta / (1 + epoch) ** gamma)


def add_gradient_noise(
    parameters: Sequence[nn.Parameter], scale: float, batch: int, generator: torch.Generator
) -> None:
    """Add N(0, scale²) to the batch-summed gradient, in place.

    The gradients here are of a mean over `batch` samples, so the noise is divided by `batch` too.
    The generator is on the parameters' device.
    """
    noisy = [parameter.grad for parameter in parameters if parameter.grad is not None]
    sizes = [gradient.numel() for gradient in noisy]
    drawn = torch.randn(sum(sizes), generator=generator, device=generator.device)
    for gradient, noise in zip(noisy, drawn.split(sizes), strict=True):
        gradient.add_(noise.view_as(gradient), alpha=scale / batch)


def learning_rate(initial: float, epoch: int, epochs: int, phases: int) -> float:
    """`initial` divided by ten at the end of each of `phases` equal parts of the schedule.

    `epoch` counts from zero. Four phases of 40 epochs are the paper's "÷10 every 10 epochs"; a
    schedule of another length keeps its shape.
    """
    return float(initial / 10 ** (epoch * phases // epochs))
