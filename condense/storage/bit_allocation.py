"""Uniform quantisers of few bits, and how many bits each coefficient gets.

The coefficients of a cosine transform of images have about a Laplace distribution (Reininger &
Gibson 1983). `STEPS` and `DISTORTIONS` are those of the uniform quantisers with the least squared
error for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

STEPS = (0.0, 1.4142, 1.0874, 0.7309, 0.4610, 0.2800, 0.1657, 0.0961, 0.0548)
"""Distance of the levels of the quantiser with 0 to 8 bits, in standard deviations."""

DISTORTIONS = (1.0, 0.5, 0.196302, 0.071748, 0.025351, 0.008713, 0.002913, 0.000949, 0.000301)
"""Its mean squared error, as a share of the variance."""

MOST_BITS = len(STEPS) - 1


def allocate_bits(variances: Tensor, means: Tensor, most: int) -> Tensor:
    """Bits for each coefficient, int64 [k], at most `most` in total and `MOST_BITS` each.

    One bit at a time goes to the coefficient whose squared error it reduces most (greedy bit
    allocation: Gersho & Gray 1992, section 8.3). The error is convex in the bits, so this minimises
    the total.

    Args:
        variances, means: [k], over the images. A coefficient without bits is 0 when it is read, so
            its first bit also saves the square of its mean.
        most: bits of all coefficients.
    """
    best = _saved(variances, means).sort(descending=True, stable=True)
    chosen = best.indices[:most][best.values[:most] > 0]
    return (chosen // MOST_BITS).bincount(minlength=len(variances))


def bits_needed(variances: Tensor, means: Tensor, error: float, others: float = 0.0) -> int:
    """The fewest bits in total with a squared error of at most `error`.

    Args:
        variances, means: [k], as for `allocate_bits`.
        error: at least that of `MOST_BITS` for each coefficient.
        others: the error of coefficients that are not among these.
    """
    saved = _saved(variances, means).sort(descending=True, stable=True).values
    without_bits = float((variances.double() + means.double().square()).sum()) + others
    return 1 + int((without_bits - saved.cumsum(0) > error).sum())


def _saved(variances: Tensor, means: Tensor) -> Tensor:
    """By how much each further bit of each coefficient reduces the squared error, [k · MOST_BITS].

    Ordered by coefficient, then by bit.
    """
    distortions = torch.tensor(DISTORTIONS, dtype=torch.float64, device=variances.device)
    saved = variances.double()[:, None] * (distortions[:-1] - distortions[1:])
    saved[:, 0] += means.double().square()
    return saved.flatten()


def level_numbers(values: Tensor, bits: Tensor) -> Tensor:
    """The number of the nearest level, int64 from 0 to 2^bits − 1.

    Args:
        values: [n, k], in standard deviations.
        bits: int64 [k], at least 1.
    """
    half = 2 ** (bits - 1)
    steps = torch.tensor(STEPS).to(values)[bits]
    return (values / steps).floor().to(torch.int64).clamp(-half, half - 1) + half


def level_values(numbers: Tensor, bits: Tensor) -> Tensor:
    """The values of levels [n, k], in standard deviations, float32."""
    steps = torch.tensor(STEPS, dtype=torch.float32, device=numbers.device)[bits]
    return ((numbers - 2 ** (bits - 1)).to(steps) + 0.5) * steps
