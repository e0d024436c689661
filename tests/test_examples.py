"""The examples in the docstrings run, and print what they show."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("condense", "continual", "nas")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_the_main_modules_have_examples() -> None:
    assert {
        *("condense", "condense.api", "condense.condensed_set", "condense.evaluation"),
        *("condense.data.image_data", "condense.data.loading", "condense.zoo"),
        *(
            "continual.condensed_buffer",
            "continual.selected_buffers",
            "continual.streams",
            "nas",
            "nas.ranking",
            "nas.space",
        ),
    } <= {*MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDENSE_DATA", str(tmp_path / "data"))
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted
    assert not found.failed
