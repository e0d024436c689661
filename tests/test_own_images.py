"""The page docs/own-images.md: its commands and its examples run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense import load_condensed
from tests.helpers.folders import write_photos
from tests.helpers.processes import ROOT

PAGE = (ROOT / "docs" / "own-images.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python -m (.*)$", PAGE, flags=re.MULTILINE)
BRIEF = {
    "condense run": "--preset smoke --quiet --method random --evaluation.num-eval 1",
    "condense evaluate": "--preset smoke --quiet --num-eval 1",
    "condense show": "",
    "continual.run --stream": "--preset smoke --quiet --images-per-class 1 --steps-per-epoch 1",
}
"""Flags that make a command fast."""


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the page names."""
    write_photos(tmp_path / "photos", per_class=13)
    pixels = np.random.default_rng(0).random((26, 3, 16, 16))
    np.savez(tmp_path / "archive.npz", x_train=pixels, y_train=np.array(["cat", "dog"] * 13))
    small = load_condensed("mnist", ipc=1)
    name = "res_DSA_MNIST_ConvNet_1ipc.pt"
    torch.save({"data": [[small.normalised(), small.labels]]}, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 6


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line: str, photos: Path, command: Callable[..., Any]) -> None:
    flags = next(flags for start, flags in BRIEF.items() if line.startswith(start))
    command(*line.split(), *flags.split())


def test_examples(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("condense.api", "condense.evaluation"):
        monkeypatch.setattr(f"{module}.preset_for", lambda *_: "smoke")
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)
    assert names["data"].class_names == ("cat", "dog")
    assert names["both"].class_names == ("cat", "dog")
    torch.testing.assert_close(names["again"].images, names["small"].images)
