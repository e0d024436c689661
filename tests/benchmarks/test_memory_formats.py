"""The memory formats: both compute the same, and a tiny measurement runs to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.rows import read_rows
from benchmarks.speed.memory_formats import (
    FORMATS,
    PASSES,
    PRECISIONS,
    MemoryFormats,
    convolutions_pass,
    network_pass,
    run,
)

TINY = MemoryFormats(threads=1, width=4, depth=2, classes=2, size=8, images=3, rounds=1)


@pytest.mark.parametrize("compute", [network_pass, convolutions_pass])
def test_both_formats_give_the_same_gradients(compute) -> None:
    def gradients(name: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        found = compute(TINY, getattr(torch, name))()
        return [x for part in found for x in (part if isinstance(part, tuple) else [part])]

    usual, last = map(gradients, FORMATS)
    assert len(usual) == len(last) >= 3
    for one, other in zip(usual, last, strict=True):
        torch.testing.assert_close(one, other)
    images = [x for x in last if x.ndim == 4 and min(x.shape[1:]) > 1]
    assert images
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in images)


def test_rows(tmp_path: Path) -> None:
    flags = "--threads 1 --width 4 --depth 2 --classes 2 --size 8 --images 3 --rounds 1"
    run([*flags.split(), "--results", str(tmp_path)])
    rows = read_rows(tmp_path / "memory_formats.csv")
    expected = [(what, kind, name) for what in PASSES for kind in PRECISIONS for name in FORMATS]
    assert [(row["what"], row["precision"], row["memory_format"]) for row in rows] == expected
    for row in rows:
        assert 0 < float(row["ms_min"]) <= float(row["ms"]) <= float(row["ms_max"])
    assert [row["speedup"] for row in rows[::2]] == ["1.000"] * 4
    assert rows[0]["problem"] == "ConvNet d2-w4, 3 images of 3×8×8"
