"""A small study, as its tests share it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from condense import Network
from nas import SharedStudy, Space, TrialResult

SPACE = Space([Network(depth=depth, width=width) for depth in (1, 2) for width in (8, 16, 32)])


def shared(
    folder: Path, url: str | None = None, wanted: tuple[int, ...] = (3, 0, 5, 1), **more: Any
) -> SharedStudy:
    return SharedStudy(SPACE, wanted, name="test", folder=folder, url=url, **more)


def result(score: float) -> TrialResult:
    return TrialResult(parameters=7, score=score, steps=3, seconds=0.5)
