from __future__ import annotations

import pytest

from condense.system.notes import no_notes, note


def test_a_note_is_one_line_of_the_main_process(capsys: pytest.CaptureFixture[str]) -> None:
    note("a\nb")
    with no_notes():
        note("hidden")
        with no_notes():
            note("hidden")
        note("hidden")
    note("c")
    captured = capsys.readouterr()
    assert captured.err == "note: a\\nb\nnote: c\n"
    assert captured.out == ""
