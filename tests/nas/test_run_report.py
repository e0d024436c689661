"""What the report and the screen say about the study."""

from __future__ import annotations

import pytest

from nas import run_report


def test_a_missing_dashboard_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_report, "find_spec", lambda name: None)
    install = 'pip install "condense-toolkit[dashboard]"'
    assert run_report.dashboard_missing() == f" (first: {install})"
    monkeypatch.setattr(run_report, "find_spec", lambda name: name)
    assert run_report.dashboard_missing() == ""
