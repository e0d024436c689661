"""The split of images without a test split."""

from __future__ import annotations

import numpy as np

from condense.data.splits import stratified


def test_a_fifth_of_each_class_and_at_least_one_of_two() -> None:
    labels = np.repeat([0, 1, 2, 3], [20, 7, 2, 1])
    train, test = stratified(labels, "name")
    assert sorted([*train, *test]) == list(range(30))
    assert np.bincount(labels[test]).tolist() == [4, 1, 1]
    assert np.bincount(labels[train]).tolist() == [16, 6, 1, 1]


def test_the_same_labels_are_split_alike() -> None:
    labels = np.arange(50) % 5
    first, again, other = stratified(labels), stratified(labels), stratified(labels, "other")
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])
    assert first[0].tolist() != sorted(first[0].tolist())
