from __future__ import annotations

import pytest

from benchmarks.speed.storages import PER_ROUND, measure


@pytest.mark.parametrize("url", [None, "sqlite:///study.db"])
def test_a_row_of_a_storage(url: str | None) -> None:
    row = measure(url, PER_ROUND)
    assert row.keys() == {"fill_seconds", "cpu_ms", "cpu_ms_min", "cpu_ms_max"}
    assert float(row["fill_seconds"]) >= 0
    assert 0 <= float(row["cpu_ms_min"]) <= float(row["cpu_ms"]) <= float(row["cpu_ms_max"])
