from __future__ import annotations

import itertools
import math

import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

from condense.seeds import generator
from condense.storage.bit_allocation import (
    DISTORTIONS,
    MOST_BITS,
    STEPS,
    allocate_bits,
    bits_needed,
    level_numbers,
    level_values,
)


def laplace(x: float) -> float:
    """Density with variance 1."""
    return math.exp(-math.sqrt(2) * abs(x)) / math.sqrt(2)


def distortion(step: float, bits: int) -> float:
    """Mean squared error of a uniform quantiser, by numerical integration."""
    half, total = 2 ** (bits - 1), 0.0
    for level in range(half):
        end = (level + 1) * step if level < half - 1 else math.inf
        centre = (level + 0.5) * step
        total += quad(lambda x, c=centre: (x - c) ** 2 * laplace(x), level * step, end)[0]
    return 2 * total


def lost_share(variances: torch.Tensor, bits: torch.Tensor) -> float:
    """Squared error as a share of the variance."""
    distortions = torch.tensor(DISTORTIONS, dtype=torch.float64)
    return float((variances * distortions[bits]).sum() / variances.sum())


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5])
def test_the_quantisers_are_the_best_ones_for_a_laplace_distribution(bits: int) -> None:
    best = minimize_scalar(
        distortion, (0.5 * STEPS[bits], STEPS[bits], 2 * STEPS[bits]), args=(bits,)
    )
    assert STEPS[bits] == pytest.approx(best.x, abs=1e-3)
    assert DISTORTIONS[bits] == pytest.approx(best.fun, abs=1e-5)


@pytest.mark.parametrize("bits", range(1, MOST_BITS + 1))
def test_distortions_are_those_of_the_steps(bits: int) -> None:
    assert DISTORTIONS[bits] == pytest.approx(distortion(STEPS[bits], bits), rel=0.01)


def test_no_other_allocation_has_a_smaller_error() -> None:
    variances, most = torch.tensor([9.0, 2.0, 0.5, 0.1]), 7
    ours = allocate_bits(variances, torch.zeros(4), most)
    assert ours.sum() == most
    all_others = itertools.product(range(most + 1), repeat=len(variances))
    best = min(
        lost_share(variances, torch.tensor(other)) for other in all_others if sum(other) <= most
    )
    assert lost_share(variances, ours) == pytest.approx(best)


@pytest.mark.parametrize("lost", [0.5, 0.1, 0.01])
def test_one_bit_fewer_loses_more_than_allowed(lost: float) -> None:
    variances = torch.randn(50, generator=generator(0)).square()
    means = torch.zeros(50)
    bits = bits_needed(variances, means, lost * float(variances.sum()))
    assert lost_share(variances, allocate_bits(variances, means, bits)) <= lost
    assert lost_share(variances, allocate_bits(variances, means, bits - 1)) > lost
    assert bits_needed(torch.zeros(3), torch.zeros(3), 0.0) == 1
    allowed = lost * float(variances.sum())
    assert bits_needed(variances, means, allowed, allowed / 2) == bits_needed(
        variances, means, allowed / 2
    )


@pytest.mark.parametrize("lost", [0.5, 0.1, 0.01])
def test_without_bits_the_mean_is_lost_too(lost: float) -> None:
    draws = generator(0)
    variances, means = torch.randn(2, 50, generator=draws).square()
    means[0], variances[0] = 10, 1e-6  # the same in all images

    def lost_with(bits: int) -> float:
        given = allocate_bits(variances, means, bits)
        missing = float(means[given == 0].square().sum() / variances.sum())
        return lost_share(variances, given) + missing

    bits = bits_needed(variances, means, lost * float(variances.sum()))
    assert allocate_bits(variances, means, 1)[0] == 1
    assert lost_with(bits) <= lost < lost_with(bits - 1)


def test_constant_coefficients_get_no_bits_and_no_coefficient_more_than_eight() -> None:
    zeros = torch.zeros(3)
    assert allocate_bits(torch.tensor([0.0, 4.0]), zeros[:2], 100).tolist() == [0, MOST_BITS]
    assert allocate_bits(zeros, zeros, 100).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bits", range(1, MOST_BITS + 1))
def test_values_are_rounded_to_the_nearest_level(bits: int) -> None:
    values = 3 * torch.randn(200, 1, generator=generator(0))
    widths = torch.tensor([bits])
    levels = level_values(torch.arange(2**bits)[:, None], widths)
    nearest = levels.flatten()[(values - levels.T).abs().argmin(1)]
    numbers = level_numbers(values, widths)
    assert torch.equal(level_values(numbers, widths).flatten(), nearest)
    assert torch.equal(level_numbers(level_values(numbers, widths), widths), numbers)
