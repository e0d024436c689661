from __future__ import annotations

from pathlib import Path

from scipy.stats import ttest_rel

from benchmarks.rows import Row, difference, measure_missing, read_rows, write_rows


def test_differences_are_paired_by_seed_with_an_interval_of_students_t() -> None:
    ours, theirs = (50.0, 52.0, 57.0), (49.0, 50.0, 52.0)
    low, high = ttest_rel(ours, theirs).confidence_interval(0.95)
    found = difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    assert found == f"{8 / 3:+.1f} [{low:+.1f}, {high:+.1f}]"


def test_differences_without_a_pair_and_with_one() -> None:
    assert difference({0: 50.0, 2: 9.0}, {0: 47.5, 1: 1.0}) == "+2.5"
    assert difference({}, {0: 1.0}) == ""


def test_rows_of_another_process_are_kept_while_one_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"

    def measure(case: Row) -> Row:
        write_rows(path, [*read_rows(path), {"case": 10 + case["case"], "found": 1}])
        return {**case, "found": 2}

    measure_missing(path, [{"case": 0}, {"case": 1}, {"case": 10}], ("case",), measure)
    assert [(row["case"], row["found"]) for row in read_rows(path)] == [
        *[("10", "1"), ("0", "2"), ("11", "1"), ("1", "2")]
    ]
