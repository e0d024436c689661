"""Searches of seconds, in a folder of their own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nas import search
from tests.helpers.processes import ROOT

QUICK = ("--preset", "smoke", "--quiet", "--dataset", "digits")
SPACE = """
from condense import Network
quick = [Network(depth=1, width=width, norm=norm, pooling=pooling)
         for width in (8, 16) for norm in ("none", "batch", "instance")
         for pooling in ("max", "avg", "none")]
some_too_deep = [*quick[::3], Network(depth=4, width=8)]
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in an empty folder, with a cache and a space of one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_space.py").write_text(SPACE)
    sys.modules.pop("own_space", None)


def run(*arguments: str) -> None:
    search.run([*QUICK, *arguments])


def summary(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "summary.json").read_text())
    return found
