"""Sections of every report."""

from __future__ import annotations

from itertools import starmap
from pathlib import Path

from condense.runs.changes import Change
from condense.runs.html_report import Table
from condense.runs.report_sections import (
    as_flags,
    common_flags,
    provenance_section,
    settings_section,
    shown,
)

CONFIG = {
    "command": "python -m x",
    "commit": None,
    "device": "cpu",
    "data": {"name": "a", "train": 5, "test": 2, "classes": 2, "shape": [3, 8, 8], "sha256": "0f"},
    "settings": {
        "common": {"preset": "cpu", "seed": 3, "data_root": "private"},
        "eeil": {"lr_img": 0.1},
        "timeout": 9,
    },
}


def test_settings_that_differ() -> None:
    section = settings_section(CONFIG, [("eeil.lr_img", 0.2, 0.1)], without=("timeout",))
    table, everything = section.blocks
    assert isinstance(table, Table)
    assert isinstance(everything, Table)
    assert (table.header[1], list(table.rows)) == ("preset cpu", [("lr-img", "0.2", "0.1")])
    assert list(everything.rows) == [("lr-img", "0.1")]
    assert settings_section(CONFIG, []).blocks[0].text == "All are those of the preset cpu."


def test_provenance() -> None:
    (table,) = provenance_section(CONFIG).blocks
    rows = dict(table.rows)
    assert rows["images: a"] == "5 training and 2 test images of 2 classes, 3×8×8"
    assert (rows["seed"], rows["their SHA-256"], rows["version"]) == ("3", "0f", "none")
    assert "private" not in str(rows)
    several = provenance_section({**CONFIG, "data": [CONFIG["data"]] * 2, "commit": "abc"})
    assert [row[0] for row in several.blocks[0].rows].count("images: a") == 2
    assert dict(several.blocks[0].rows)["commit"] == "abc"


def test_settings_as_flags_and_as_text() -> None:
    differing = [
        ("distill", True, False),
        ("er_ace", False, True),
        ("steps", 5, None),
        ("dsa_strategy", (), ("color", "crop")),
        ("stream", "", "a b.npz"),
        ("eeil.network.width", 128, 8),
        ("condensing.network.width", 128, 8),
        ("ground_truth", None, Path("a b")),
        ("training.augment", True, False),
    ]
    assert as_flags(starmap(Change, differing)) == [
        *("--no-distill", "--er-ace", "--steps None", "--dsa-strategy color crop"),
        *("--stream 'a b.npz'", "--width 8", "--condensing.network.width 8"),
        f"--ground-truth '{Path('a b').absolute()}'",
        "--training.no-augment",
    ]
    common = {"preset": "cpu", "size": None, "fit": "resize", "hflip": True, "data_root": None}
    assert common_flags(common) == ["--preset cpu"]
    assert common_flags({**common, "size": 8}) == ["--preset cpu", "--size 8", "--fit resize"]
    assert common_flags({**common, "hflip": False}) == ["--preset cpu", "--no-hflip"]
    assert common_flags({**common, "data_root": "/a b"}) == ["--preset cpu", "--data-root '/a b'"]
    assert shown(Path("a")) == str(Path("a").absolute())
    assert [shown(value) for value in (None, (), (1, 2))] == ["none", "none", "1 2"]
