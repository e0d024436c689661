from __future__ import annotations

import pytest

from condense.system.notes import no_notes, note, warning


def test_a_note_or_warning_is_one_line_of_the_main_process(
    capsys: pytest.CaptureFixture[str],
) -> None:
    note("a\nb")
    with no_notes():
        warning("hidden")
        with no_notes():
            note("hidden")
        note("hidden")
    warning("c")
    captured = capsys.readouterr()
    assert captured.err == "note: a\\nb\nwarning: c\n"
    assert captured.out == ""
