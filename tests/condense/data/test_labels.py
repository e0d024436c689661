"""Labels of any kind, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from condense.data.labels import check_label_kind, numbered
from condense.errors import UserError


@pytest.mark.parametrize(
    ("labels", "names", "expected", "called"),
    [
        ([0, 1, 2, 0], None, [0, 1, 2, 0], None),
        ([[0], [1], [2], [0]], None, [0, 1, 2, 0], None),
        ([1, 2, 3, 1], None, [0, 1, 2, 0], ("1", "2", "3")),
        ([10, -9, 7, 10], None, [2, 0, 1, 2], ("-9", "7", "10")),
        (["dog", "cat", "dog"], None, [1, 0, 1], ("cat", "dog")),
        (["10", "9"], None, [1, 0], ("9", "10")),
        ([b"dog", "é".encode()], None, [0, 1], ("dog", "é")),
        ([0, 1], ["a", "b"], [0, 1], ("a", "b")),
        ([1, 2], ["a", "b"], [0, 1], ("a", "b")),
        ([0, 2], ["a", "b", "c"], [0, 1], ("a", "c")),
        (["b", "a"], ["b", "c", "a"], [0, 1], ("b", "a")),
    ],
)
def test_labels_count_up_from_0(
    labels: list[Any], names: list[str] | None, expected: list[int], called: tuple[str, ...] | None
) -> None:
    found = numbered({"y_train": np.array(labels)}, names)
    assert found.splits["y_train"].tolist() == expected
    assert found.splits["y_train"].dtype == np.int64
    assert found.names == called
    assert set(found.absent) == {*(names or ())} - {*(called or ())}


def test_large_numbers_of_another_type_are_the_same_labels() -> None:
    given = {
        "y_train": np.array([2**63, 2**63 - 1], dtype=np.uint64),
        "y_test": np.array([2**63 - 1], dtype=np.int64),
    }
    found = numbered(given)
    assert found.names == (str(2**63 - 1), str(2**63))
    assert found.splits["y_test"].tolist() == [0]


@pytest.mark.parametrize(
    ("train", "test", "names", "message"),
    [
        ([0, 1], [2], None, "y_test contains the label 2; y_train has no such image"),
        (["a"], ["b"], None, "y_test contains the label b"),
        ([0, 1, 3], [0], ["a", "b"], "y_train contains the label 3; there are 2 names"),
        (["c"], ["c"], ["a", "b"], "y_train contains the label c, which is not a class name"),
        (["a\nb"], ["a\nb"], None, "the class name"),
        ([b"\xff"], [b"\xff"], None, "y_train contains labels that are not UTF-8"),
    ],
)
def test_labels_that_will_not_do(
    train: list[Any], test: list[Any], names: list[str] | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        numbered({"y_train": np.array(train), "y_test": np.array(test)}, names)


def test_bools_are_the_classes_0_and_1() -> None:
    bools = np.array([True, False, True])
    check_label_kind("y_train", bools, 3)
    found = numbered({"y_train": bools})
    assert found.splits["y_train"].tolist() == [1, 0, 1]
    assert found.names is None
