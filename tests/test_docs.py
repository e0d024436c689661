"""The commands and snippets of docs/using-a-set.md, as they are written there."""

from __future__ import annotations

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

PAGE = (ROOT / "docs" / "using-a-set.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    python -m (.+)$", PAGE, re.MULTILINE)
SNIPPETS = re.findall(r"^```python\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_using_a_set(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (len(COMMANDS), len(SNIPPETS)) == (6, 3)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    hub = find_spec("datasets") is not None
    for line in COMMANDS:
        if hub or "parquet" not in line:
            command(*shlex.split(line))
    found: dict[str, object] = {}
    for snippet in SNIPPETS:
        if hub or "load_dataset" not in snippet:
            exec(snippet, found)
    assert len(found["pictures"]) == len(found["arrays"]["labels"]) == 20
    assert found["tensors"]["images"].equal(found["small"].images)
