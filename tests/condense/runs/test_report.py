"""Printed tables, and the list of a run's files."""

from __future__ import annotations

from pathlib import Path

from condense.runs.report import list_files, markdown_table, text_table


def test_a_table_by_hand() -> None:
    rows = [("proxy", "best", "n"), ("dsa", "0.5 ± 0.1", "10"), ("whole", "", "")]
    assert text_table(rows).split("\n") == [
        "proxy  best       n",
        "dsa    0.5 ± 0.1  10",
        "whole",
    ]
    assert text_table([]) == ""


def test_a_table_in_markdown_by_hand() -> None:
    made = markdown_table(["a", "b"], [["1", ""], ["2", "3"]])
    assert made == "| a | b |\n| --- | --- |\n| 1 |  |\n| 2 | 3 |"


def test_the_files_of_a_run_are_listed_without_lock_and_temporary_files(tmp_path: Path) -> None:
    for name in ("summary.json", ".lock", "condensed.png", ".tmp-0-summary.json"):
        (tmp_path / name).touch()
    listed = list_files(tmp_path).split("\n")
    assert listed == [f"  {tmp_path / name}" for name in ("condensed.png", "summary.json")]
