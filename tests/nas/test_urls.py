from __future__ import annotations

from pathlib import Path

import pytest

from nas.urls import absolute, what_it_says


def test_a_relative_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("sqlite:///a study.db") == f"sqlite:///{tmp_path}/a study.db"
    assert absolute("sqlite:///../x.db?timeout=5") == f"sqlite:///{tmp_path}/../x.db?timeout=5"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////home/me/study.db",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:study.db?uri=true",
        "postgresql://me:secret@host/study",
        "postgresql://me:sec%2Fret@host:5432/study?sslmode=require",
        "nonsense",
        "",
    ],
)
def test_other_urls_stay_as_they_are(url: str) -> None:
    assert absolute(url) == url


def test_only_the_first_line_of_a_message_is_shown() -> None:
    error = RuntimeError("connection refused\nIs the server running?")
    assert what_it_says(error, "postgresql://me@host/db") == "connection refused"
    assert what_it_says(RuntimeError("secreted"), "postgresql://me:secret@h/db") == "RuntimeError"
