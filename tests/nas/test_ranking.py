from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import nas.ranking
from condense import UserError
from condense.runs.plots import new_figure
from nas import Row, Table, rank
from nas.ranking import (
    Correlation,
    correlation,
    kendall,
    order,
    resamples,
    spearman,
    top,
    top_count,
)
from nas.report import agreement, ranking, scatter

TIED = ([0.3, 0.5, 0.5, 0.7, 0.1, 0.5], [0.2, 0.6, 0.4, 0.8, 0.2, 0.4])


def ranks(values: list[float]) -> list[float]:
    """Mean ranks, by counting."""
    return [
        sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values
    ]


def test_correlations_of_rankings_with_ties_by_hand() -> None:
    x, y = TIED
    assert spearman(x, y) == pytest.approx(np.corrcoef(ranks(x), ranks(y))[0, 1])
    pairs = [(i, j) for i in range(6) for j in range(i)]
    signs = [(np.sign(x[i] - x[j]), np.sign(y[i] - y[j])) for i, j in pairs]
    agree = sum(a * b for a, b in signs)
    untied = [sum(bool(side) for side in sides) for sides in zip(*signs, strict=True)]
    assert kendall(x, y) == pytest.approx(agree / (untied[0] * untied[1]) ** 0.5)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=20))
def test_correlations_are_scipys(pairs: list[tuple[int, int]]) -> None:
    x, y = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert np.isnan(spearman(x, y))
        assert np.isnan(kendall(x, y))
        return
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert kendall(x, y) == pytest.approx(stats.kendalltau(x, y).statistic)


def test_architectures_without_a_score_are_left_out() -> None:
    scores, ground_truth = [0.1, None, 0.3, 0.2, 0.4, 0.5], [0.1, 0.9, 0.2, 0.4, None, 0.6]
    expected = rank([0.1, 0.3, 0.2, 0.5], [0.1, 0.2, 0.4, 0.6], 0.5)
    assert rank(scores, ground_truth, 0.5) == expected
    assert expected.spearman_all.n == 4
    missing = float("nan")  # as pandas reads an empty cell
    with_nan = [
        [missing if value is None else value for value in column]
        for column in (scores, ground_truth)
    ]
    assert rank(*with_nan, 0.5) == expected
    assert rank([None], [None]).spearman_all == Correlation(None, None, None, 0)


def test_scores_of_other_architectures_are_refused() -> None:
    few, many = [0.1, 0.2], [0.3, 0.4, 0.5]
    with pytest.raises(UserError, match="2 scores for 3 values of the ground truth"):
        rank(few, many)
    with pytest.raises(UserError, match="3 scores for 2 values of the ground truth"):
        rank(many, few)


@pytest.mark.parametrize("fraction", [0.0, -1.0, 5.0, float("nan")])
def test_a_top_that_is_no_fraction_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="top_fraction must be above 0 and at most 1, not"):
        rank([1.0, 2.0], [1.0, 2.0], fraction)


@pytest.mark.parametrize("kind", ["uint8", "int64", "float32", "bool"])
def test_the_order_of_scores_of_any_type(kind: str) -> None:
    scores = np.array([1, 0, 1, 0], dtype=kind)
    assert order(scores) == [0, 2, 1, 3]
    assert order(np.array([1, 250, 0], dtype="uint8")) == [1, 0, 2]


def test_the_top_is_the_proxys() -> None:
    """Where the proxy is right about its best and wrong about the rest, the top shows it."""
    scores = [float(100 - place) for place in range(100)]
    ground_truth = [float(-place) for place in range(10)] + [
        float(place - 200) for place in range(90)
    ]
    found = rank(scores, ground_truth, top_fraction=0.1)
    assert found.spearman_top.n == 10
    assert found.spearman_top.value == pytest.approx(1)
    assert found.spearman_all.n == 100
    assert found.spearman_all.value is not None
    assert found.spearman_all.value < 0
    assert top_count(720, 0.05) == 36
    assert [top_count(n, 0.05) for n in (0, 1, 36, 100)] == [0, 1, 2, 5]


def test_top_k_and_ties() -> None:
    assert order([0.5, 0.9, 0.5, 0.9]) == [1, 3, 0, 2]
    found = top([0.9, 0.8, 0.7, 0.6], [0.2, 0.5, 0.9, 0.7], k=2)
    assert found.overlap == 0
    assert found.best == 0.5
    assert set(rank(*TIED).top) == {5}
    assert set(rank([0.5] * 10, [0.5] * 10).top) == {5, 10}


def test_ties_at_the_border_of_the_top_favour_nobody() -> None:
    """However the rows are sorted: they come in the order of the proxy."""
    scores = [0.9, 0.8, 0.7, 0.6]
    assert top(scores, [0.5] * 4, k=2).overlap == 0.5, "chance"
    assert top(scores, [0.5] * 4, k=4).overlap == 1
    # One is certain, and two of three take the second place.
    assert top(scores, [0.5, 0.7, 0.5, 0.5], k=2).overlap == pytest.approx((1 + 1 / 3) / 2)
    # The proxy's own: the first is certain, and one of the next two.
    assert top([0.9, 0.8, 0.8, 0.6], [0.9, 0.8, 0.7, 0.6], k=2).overlap == 0.75
    assert top([0.8] * 4, [0.9, 0.8, 0.7, 0.6], k=2).best == 0.9


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=5))
def test_the_overlap_is_its_mean_over_all_ways_to_break_ties(pairs: list[tuple[int, int]]) -> None:
    k = 2
    sides = [[float(side) for side in column] for column in zip(*pairs, strict=True)]
    indices = range(len(pairs))
    tops = [
        [
            {*sorted(shuffled, key=lambda index: -side[index])[:k]}
            for shuffled in itertools.permutations(indices)
        ]
        for side in sides
    ]
    overlaps = [len(one & other) / k for one in tops[0] for other in tops[1]]
    found = top(*sides, k).overlap
    assert found == pytest.approx(sum(overlaps) / len(overlaps))


def test_the_interval_holds_the_value_and_narrows_with_n() -> None:
    draws = np.random.default_rng(0)

    def interval(n: int) -> Correlation:
        x = draws.normal(size=n)
        return correlation(spearman, x.tolist(), (x + draws.normal(size=n)).tolist())

    few, many = interval(15), interval(200)
    for found in (few, many):
        assert found.low is not None
        assert found.value is not None
        assert found.high is not None
        assert found.low < found.value < found.high
    assert few.high - few.low > 2 * (many.high - many.low)  # type: ignore[operator]
    assert str(Correlation(0.5, 0.25, 0.75, 36)) == "0.50 [0.25, 0.75] (n = 36)"


def test_the_interval_is_the_middle_95_per_cent_of_the_resamples() -> None:
    draws = np.random.default_rng(1)
    x = draws.normal(size=40)
    y = x + draws.normal(size=40)
    found = correlation(spearman, x.tolist(), y.tolist())
    values = np.array(
        [stats.spearmanr(x[rows], y[rows]).statistic for part in resamples(40) for rows in part]
    )
    assert (values < found.low).mean() == pytest.approx(0.025, abs=0.002)
    assert (values > found.high).mean() == pytest.approx(0.025, abs=0.002)


@pytest.mark.parametrize("measure", [spearman, kendall])
@pytest.mark.parametrize("n", [3, 9, 257])
def test_an_interval_does_not_depend_on_the_parts_that_are_measured_at_once(
    monkeypatch: pytest.MonkeyPatch, measure: Any, n: int
) -> None:
    """Whole, it takes gigabytes for a space of ten thousands."""
    monkeypatch.setattr(nas.ranking, "RESAMPLES", 50)
    draws = np.random.default_rng(2)
    x, y = draws.normal(size=n).round(1).tolist(), draws.normal(size=n).round(1).tolist()
    whole = correlation(measure, x, y)
    assert [part.shape for part in resamples(n)] == [(50, n)]
    for rows in (1, 7):
        monkeypatch.setattr(nas.ranking, "MOST_INDICES", rows * n)
        assert max(len(part) for part in resamples(n)) == rows
        assert correlation(measure, x, y) == whole


def test_too_few_or_all_the_same_have_no_correlation() -> None:
    assert correlation(spearman, [1.0, 2.0], [1.0, 2.0]) == Correlation(None, None, None, 2)
    assert correlation(spearman, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]).value == pytest.approx(1)
    assert correlation(kendall, [1.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0]).value is None
    assert str(Correlation(None, None, None, 2)) == "– (n = 2)"


def test_only_what_is_complete_and_known_is_compared() -> None:
    def row(index: int, score: float | None, ground_truth: float | None) -> Row:
        return Row(
            index, f"a{index}", score=score, ground_truth=ground_truth, parameters=10 - index
        )

    rows = [row(0, 0.1, 0.1), row(1, 0.2, 0.2), row(2, None, 0.3), row(3, 0.4, None)]
    rows += [row(4, 0.5, 0.5), row(5, 0.6, 0.4)]
    found = agreement(Table(rows, "dsa", "blobs", "0", "1", "2"), 0.5)
    assert (found["spearman_all_n"], found["spearman_top_n"]) == (4, 2)
    assert found["spearman_all"] == pytest.approx(0.8)
    assert found["baseline_parameters"]["spearman_all"] == pytest.approx(-0.8)
    none = agreement(Table(rows[3:4], "dsa", "blobs", "0", "1", "2"), 0.5)
    assert none.keys() == found.keys()
    assert (none["spearman_all"], none["spearman_all_n"]) == (None, 0)


def test_figures_show_the_ground_truth_over_the_ranking() -> None:
    """Of the architectures that have one; the top is a fraction of these."""
    rows = [
        Row(place, f"a{place}", score=0.5 - 0.01 * place, accuracy=0.25, ground_truth=value)
        for place, value in enumerate([0.5, 0.75, 0.625, *[None] * 6])
    ]
    axes = new_figure(3, 3).add_subplot()
    scatter(axes, rows, 0.34, "dsa")
    others, top = (np.asarray(part.get_offsets()).tolist() for part in axes.collections)
    assert (others, top) == ([[25, 75], [25, 62.5]], [[25, 50]])
    assert [part.get_label() for part in axes.collections] == ["others", "top 34 %"]
    axes = new_figure(3, 3).add_subplot()
    ranking(axes, rows, "dsa")
    (line,) = axes.lines
    assert np.asarray(line.get_ydata()).tolist() == [50, 75, 75]
