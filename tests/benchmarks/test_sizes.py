"""The benchmark of peak memory, with tiny problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rows import read_rows
from benchmarks.speed import sizes


def test_each_problem_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sizes, "RESULTS", tmp_path)
    monkeypatch.setattr(sizes, "PROBLEMS", (sizes.Problem(3, 1, 16),))
    sizes.run(["--width", "4"])
    (row,) = read_rows(tmp_path / sizes.FILE)
    assert 100e6 < int(row["peak_bytes"]) < 3e9  # PyTorch alone takes some hundred megabytes
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("| 3 | 1 | 16×16 | 4 | ")
