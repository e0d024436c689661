"""The images of a command: their cache and their progress bar."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from condense.cli.common import Common
from condense.cli.images import load_images, reading_bar
from condense.data import folder_cache
from condense.system.notes import note
from tests.helpers.folders import write_photos


def test_the_cache_of_a_command_and_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(folder_cache, "SMALL_COUNT", 1)
    photos = str(write_photos(tmp_path / "photos"))
    without = load_images(photos, Common(device="cpu", size=16, cache=False))
    assert not (tmp_path / "cache").exists()
    first = load_images(photos, Common(device="cpu", size=16))
    assert len(list((tmp_path / "cache").glob("images-*.safetensors"))) == 1
    second = load_images(photos, Common(device="cpu", size=16))
    assert without.describe() == first.describe() == second.describe()
    assert torch.equal(first.x_test, second.x_test)


@pytest.mark.parametrize(
    ("terminal", "quiet", "shown"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_the_bar_is_for_a_terminal(
    terminal: bool,
    quiet: bool,
    shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with reading_bar(Common(quiet=quiet)) as bar:
        bar.report(12, 24)
        bar.report(24, 24)
        note("said meanwhile")
    said = capsys.readouterr().err
    assert "note: said meanwhile" in said.replace("\r", "\n").splitlines()
    assert ("reading images: 100%" in said) == shown
