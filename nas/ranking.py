"""Quality of a ranking by a proxy: rank correlations, and the true accuracy of its top.

In all functions, `scores` are from the proxy and `ground_truth` from the whole set: one value per
architecture, in the same order; higher is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from condense import UserError, generator
from condense.validation import check_fraction

Scores = Sequence[float]
Array = npt.NDArray[np.float64]
RESAMPLES = 1000
MOST_INDICES = 2**20
"""Of resamples that are measured at once; the values do not depend on it."""
FEWEST = 3
"""Fewest architectures for a correlation."""
TOPS = (5, 10, 20, 30)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation, its 95 % bootstrap interval, and the number of architectures.

    None if there are fewer than three, or if all scores are equal.
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
    """The k best architectures by the proxy."""

    overlap: float
    """The fraction of them that is among the k best by ground truth. Where ties leave open which
    are the k best, on either side: the mean over all choices."""
    best: float
    """The highest ground-truth accuracy among them; tied scores keep their order."""


@dataclass(frozen=True)
class Ranking:
    """Measures of a ranking's quality."""

    spearman_top: Correlation
    spearman_all: Correlation
    kendall_all: Correlation
    top: dict[int, Top]

    def as_dict(self) -> dict[str, Any]:
        """A dictionary for JSON; each correlation has its interval and number beside it."""
        found: dict[str, Any] = {}
        for name in ("spearman_top", "spearman_all", "kendall_all"):
            correlation: Correlation = getattr(self, name)
            found[name] = correlation.value
            found[f"{name}_interval"] = [correlation.low, correlation.high]
            found[f"{name}_n"] = correlation.n
        return {**found, "top_k": {str(k): asdict(top) for k, top in self.top.items()}}


def rank(
    scores: Sequence[float | None],
    ground_truth: Sequence[float | None],
    top_fraction: float = 0.05,
) -> Ranking:
    """Compare the ranking by `scores` with that by `ground_truth`.

    An architecture without one of both, because its training failed, is left out.

    Args:
        scores: from the proxy; None or NaN (as in a column of pandas): no score.
        ground_truth: from the whole set, as `scores`.
        top_fraction: the fraction of architectures, best by the proxy, for `spearman_top`; above 0
            and at most 1.

    >>> from nas.ranking import rank
    >>> found = rank([0.3, 0.5, 0.4, 0.9], [0.60, 0.75, 0.70, 0.80], top_fraction=1.0)
    >>> print(found.spearman_all)
    1.00 [1.00, 1.00] (n = 4)

    Raises:
        UserError: one list is longer than the other, or `top_fraction` is not a fraction.
    """
    check_fraction("top_fraction", top_fraction)
    scores, ground_truth = _known(scores, ground_truth)
    best = order(scores)[: top_count(len(scores), top_fraction)]
    return Ranking(
        spearman_top=correlation(
            spearman, [scores[i] for i in best], [ground_truth[i] for i in best]
        ),
        spearman_all=correlation(spearman, scores, ground_truth),
        kendall_all=correlation(kendall, scores, ground_truth),
        top={k: top(scores, ground_truth, k) for k in TOPS if k <= len(scores)},
    )


def _known(
    scores: Sequence[float | None], ground_truth: Sequence[float | None]
) -> tuple[list[float], list[float]]:
    """Scores and ground truth of the architectures that have both."""
    if len(scores) != len(ground_truth):
        raise UserError(
            f"{len(scores)} scores for {len(ground_truth)} values of the ground truth: give both "
            "for the same architectures, in the same order, and None where there is none"
        )
    pairs = [
        (score, value)
        for score, value in zip(scores, ground_truth, strict=True)
        if score is not None and value is not None
        if not (math.isnan(score) or math.isnan(value))
    ]
    return [score for score, _ in pairs], [value for _, value in pairs]


def order(scores: Scores) -> list[int]:
    """Indices, the best first; ties keep their order.

    >>> from nas.ranking import order
    >>> order([0.2, 0.9, 0.5])
    [1, 2, 0]
    """
    return sorted(range(len(scores)), key=lambda index: scores[index], reverse=True)


def top_count(n: int, fraction: float) -> int:
    """The size of the top of n; at least one if n > 0.

    >>> from nas.ranking import top_count
    >>> top_count(720, 0.05)
    36
    """
    return min(n, max(1, round(fraction * n)))


def spearman(scores: npt.ArrayLike, ground_truth: npt.ArrayLike) -> Array:
    """Spearman's ρ over the last axis; ties get their mean rank. NaN if all values are equal.

    Computed as Pearson's correlation of the ranks, vectorised over resamples.

    >>> from nas.ranking import spearman
    >>> print(spearman([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.8, 0.7]))
    0.8
    """
    x, y = (stats.rankdata(np.asarray(side), axis=-1) for side in (scores, ground_truth))
    x, y = (side - side.mean(-1, keepdims=True) for side in (x, y))
    spread = np.sqrt((x * x).sum(-1) * (y * y).sum(-1))
    with np.errstate(invalid="ignore"):
        found: Array = (x * y).sum(-1) / spread
    return found


def kendall(scores: npt.ArrayLike, ground_truth: npt.ArrayLike) -> Array:
    """Kendall's τ-b over the last axis, which accounts for ties. NaN as for Spearman's ρ.

    >>> from nas.ranking import kendall
    >>> print(f"{kendall([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.8, 0.7]):.2f}")
    0.67
    """

    def of_rows(x: Array, y: Array) -> float:
        return float(stats.kendalltau(x, y).statistic)

    found: Array = np.vectorize(of_rows, signature="(n),(n)->()")(scores, ground_truth)
    return found


def correlation(
    measure: Callable[[npt.ArrayLike, npt.ArrayLike], Array], scores: Scores, ground_truth: Scores
) -> Correlation:
    """A rank correlation with its bootstrap interval (percentile, over architectures)."""
    n = len(scores)
    value = float(measure(scores, ground_truth)) if n >= FEWEST else math.nan
    if math.isnan(value):
        return Correlation(None, None, None, n)
    # scipy.stats.bootstrap gives the same interval, but NaN if a resample has equal values (n ≤ 5).
    x, y = np.asarray(scores, float), np.asarray(ground_truth, float)
    values = np.concatenate([measure(x[rows], y[rows]) for rows in resamples(n)])
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Correlation(value, float(low), float(high), n)


def resamples(n: int) -> Iterator[npt.NDArray[np.int64]]:
    """The rows [RESAMPLES, n] of a bootstrap, always the same, in parts of bounded size."""
    draws = np.random.default_rng(generator(0, "bootstrap").initial_seed())
    part = max(1, MOST_INDICES // n)
    for done in range(0, RESAMPLES, part):
        yield draws.integers(n, size=(min(part, RESAMPLES - done), n))


def top(scores: Scores, ground_truth: Scores, k: int) -> Top:
    """The ground truth of the k best by `scores`.

    >>> from nas.ranking import top
    >>> top([0.4, 0.3, 0.2, 0.1], [0.5, 0.5, 0.5, 0.5], k=2).overlap
    0.5
    """
    both = _chances(scores, k) @ _chances(ground_truth, k)
    return Top(
        overlap=float(both) / k,
        best=max(float(ground_truth[index]) for index in order(scores)[:k]),
    )


def _chances(values: Scores, k: int) -> Array:
    """The probability of each index to be among the k best, if ties are broken at random."""
    column = np.asarray(values, float)
    border = np.sort(column)[-k]
    tied = column == border
    above = column > border
    chances: Array = above + tied * ((k - above.sum()) / tied.sum())
    return chances
