"""The memories' curves, and what the paper says of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.paper.figure3 import PAPER, curve
from tests.helpers.kept_results import stream_results
from tests.helpers.processes import ROOT


def test_curves_by_hand() -> None:
    kept = stream_results(
        {
            "domain-dsa-no-distill-s0": [0.9, 0.8, 0.7],
            "domain-dsa-no-distill-s1": [0.9, 0.9, 0.9],
            "time-domain-dsa-s0": [0.0, 0.0, 0.0],
            "domain-dsa-distill-s0": [0.5, 0.25, 0.125],
        }
    )
    means, spreads = curve(kept, "dsa", False) or ([], [])
    assert means == pytest.approx([90, 85, 80])
    assert spreads == pytest.approx([0, 50**0.5, 200**0.5])
    assert curve(kept, "dsa", True) == ([50, 25, 12.5], [0, 0, 0])
    assert curve(kept, "herding", False) is None


def test_the_papers_figures_are_those_of_its_text() -> None:
    assert pytest.approx({"herding": 90.7, "dc": 93.0, "dsa": 94.4}) == PAPER


def test_the_command_as_a_user_runs_it(tmp_path: Path, command: Any) -> None:
    here = {"PYTHONPATH": str(ROOT)}
    assert command("benchmarks.paper.figure3", "--out", "three.png", **here).stdout == "three.png\n"
    with Image.open(tmp_path / "three.png") as picture:
        assert picture.size[0] > 1.5 * picture.size[1]
