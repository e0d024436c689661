"""How well a ranking by a proxy holds: rank correlations, what its top is worth, its pick.

Throughout, `scores` are the proxy's and `truth` the whole set's, one for each architecture, in one
order; more is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from condense import generator

Scores = Sequence[float]
Array = npt.NDArray[np.float64]
RESAMPLES = 1000
FEWEST = 3
"""Architectures below which a correlation says nothing."""
TOPS = (5, 10, 20, 30)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, its 95 % bootstrap interval, and the number of architectures.

    None where there are fewer than three, or where all scores are the same.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.value is None:
            return f"– (n = {self.n})"
        if self.low is None or self.high is None:
            return f"{self.value:.2f} (n = {self.n})"
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] (n = {self.n})"


@dataclass(frozen=True)
class Top:
    """The k architectures that the proxy thinks best."""

    overlap: float
    """The share of them that is among the truly best k."""
    best: float
    """The true accuracy of the best of them."""


@dataclass(frozen=True)
class Ranking:
    """How well a ranking holds."""

    spearman_top: Correlation
    spearman_all: Correlation
    kendall_all: Correlation
    top: dict[int, Top]

    def as_dict(self) -> dict[str, Any]:
        """As JSON: values by their names, each interval beside its value."""
        found: dict[str, Any] = {}
        for name in ("spearman_top", "spearman_all", "kendall_all"):
            correlation: Correlation = getattr(self, name)
            found[name] = correlation.value
            found[f"{name}_interval"] = [correlation.low, correlation.high]
            found[f"{name}_n"] = correlation.n
        return {**found, "top_k": {str(k): asdict(top) for k, top in self.top.items()}}


def rank(scores: Scores, truth: Scores, top_fraction: float = 0.05) -> Ranking:
    """How well the ranking by `scores` agrees with that by `truth`.

    Args:
        scores: the proxy's.
        truth: the whole set's.
        top_fraction: of the architectures, the proxy's best, that `spearman_top` is over.
    """
    best = order(scores)[: top_count(len(scores), top_fraction)]
    return Ranking(
        spearman_top=correlation(spearman, [scores[i] for i in best], [truth[i] for i in best]),
        spearman_all=correlation(spearman, scores, truth),
        kendall_all=correlation(kendall, scores, truth),
        top={k: top(scores, truth, k) for k in TOPS if k <= len(scores)},
    )


def order(scores: Scores) -> list[int]:
    """Indices, the best first; among equals, the earlier first."""
    return sorted(range(len(scores)), key=lambda index: -scores[index])


def top_count(n: int, fraction: float) -> int:
    """How many of n are the top: 36 of 720 at 5 %; at least one, where there is one."""
    return min(n, max(1, round(fraction * n)))


def spearman(scores: npt.ArrayLike, truth: npt.ArrayLike) -> Array:
    """Spearman's ρ over the last axis; ties share their mean rank. NaN where a side is all equal.

    It is Pearson's correlation of the ranks, and so takes any number of resamples at once.
    """
    x, y = (stats.rankdata(np.asarray(side), axis=-1) for side in (scores, truth))
    x, y = (side - side.mean(-1, keepdims=True) for side in (x, y))
    spread = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    with np.errstate(invalid="ignore"):
        found: Array = (x * y).sum(-1) / spread
    return found


def kendall(scores: npt.ArrayLike, truth: npt.ArrayLike) -> Array:
    """Kendall's τ-b over the last axis, which takes account of ties. NaN as for Spearman's ρ."""

    def of_rows(x: Array, y: Array) -> float:
        return float(stats.kendalltau(x, y).statistic)

    found: Array = np.vectorize(of_rows, signature="(n),(n)->()")(scores, truth)
    return found


def correlation(
    measure: Callable[[npt.ArrayLike, npt.ArrayLike], Array], scores: Scores, truth: Scores
) -> Correlation:
    """A rank correlation with its bootstrap interval (percentile, over architectures)."""
    n = len(scores)
    value = float(measure(scores, truth)) if n >= FEWEST else math.nan
    if math.isnan(value):
        return Correlation(None, None, None, n)
    x, y = np.asarray(scores, float), np.asarray(truth, float)
    draws = np.random.default_rng(generator(0, "bootstrap").initial_seed())
    rows = draws.integers(n, size=(RESAMPLES, n))
    low, high = np.nanquantile(measure(x[rows], y[rows]), (0.025, 0.975))
    return Correlation(value, float(low), float(high), n)


def top(scores: Scores, truth: Scores, k: int) -> Top:
    """What the k best by `scores` are truly worth."""
    chosen, best = order(scores)[:k], order(truth)[:k]
    return Top(
        overlap=len({*chosen} & {*best}) / k, best=max(float(truth[index]) for index in chosen)
    )
