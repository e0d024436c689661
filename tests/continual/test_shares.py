from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from continual.shares import Demand, divide

demands = some.lists(
    some.builds(
        Demand,
        some.integers(0, 3),
        some.integers(0, 20),
        some.integers(1, 9),
        some.floats(0, 1, allow_nan=False),
    ),
    max_size=8,
).map(lambda found: dict(enumerate(found)))


def test_ten_classes_share_37_images_by_priority() -> None:
    groups = {label: Demand(label, 5, 100, -label) for label in range(10)}
    assert list(divide(3700, groups).values()) == [3, 3, 3] + [4] * 7


def test_owners_have_equal_shares_whatever_the_number_of_their_groups() -> None:
    groups = {"a": Demand(0, 9, 1, 0), "b": Demand(1, 9, 1, 1), "c": Demand(1, 9, 1, 2)}
    assert divide(12, groups) == {"a": 6, "b": 3, "c": 3}


def test_tables_count_for_the_groups_that_use_them() -> None:
    groups = {"dct": Demand(0, 99, 10, 0, table_bytes=90), "pixels": Demand(1, 99, 100, 1)}
    assert divide(200, groups) == {"dct": 1, "pixels": 1}
    groups = {"dct": Demand(0, 99, 10, 0, table_bytes=110), "pixels": Demand(1, 99, 50, 1)}
    assert divide(241, groups) == {"dct": 3, "pixels": 2}  # shares of 120, then 21 are left


def test_smaller_images_are_more() -> None:
    groups = {"pixels": Demand(0, 99, 100, 0), "dct": Demand(1, 99, 10, 1)}
    assert divide(1000, groups) == {"pixels": 5, "dct": 50}


@given(some.integers(0, 300), demands)
def test_what_is_given_fits_and_nothing_more_would(total: int, groups: dict[int, Demand]) -> None:
    counts = divide(total, groups)
    used = sum(counts[key] * group.image_bytes for key, group in groups.items())
    assert used <= total
    for key, group in groups.items():
        assert 0 <= counts[key] <= group.images
        assert counts[key] == group.images or used + group.image_bytes > total
