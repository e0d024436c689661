"""The default method on folders: the command that is run, the row, the table."""

from pathlib import Path

import pytest

from benchmarks import own_images
from benchmarks.rows import read_rows
from condense.__main__ import _run_defaults
from condense.cli.flags import parse
from condense.errors import UserError

SUMMARY = {
    "method": "dm", "images_per_class": 50, "accuracies": [0.6, 0.7], "seconds": 12.5,
    "baselines": {"herding": {"accuracies": [0.5, 0.6]}, "random": {"accuracies": [0.25]}},
}  # fmt: skip
CONFIG = {
    "data": {"train": 90, "test": 10, "classes": 3, "sha256": "ab"},
    "version": "1", "commit": "c0",
}  # fmt: skip


def test_folders_are_measured_once_and_compared_with_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[list[str]] = []

    def fake(command, flags, out, threads):
        ran.append(flags)
        return CONFIG, SUMMARY

    monkeypatch.setattr(own_images, "run_to_the_end", fake)
    folders = [str(tmp_path / "leaves"), str(tmp_path / "signs")]
    for _ in range(2):
        own_images.run([*folders, "--size", "16", "--results", str(tmp_path)])
    assert len(ran) == 2
    asked = parse(_run_defaults, ran[0], "test")
    assert (asked.method, asked.compare, asked.settings.ipc) == ("auto", "both", 1)
    assert (asked.common.size, asked.dataset) == (16, str(tmp_path / "leaves"))
    assert [row["images"] for row in read_rows(tmp_path / "own_images.csv")] == ["leaves", "signs"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "| signs | 3 | 90 | 50 | dm | 25.0 | 55.0 ± 7.1 | 65.0 ± 7.1 | +10.0 | 1 |"


def test_herding_is_not_compared_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    baselines = {"random": {"accuracies": [0.25]}}
    summary = {**SUMMARY, "method": "herding", "baselines": baselines}
    monkeypatch.setattr(own_images, "run_to_the_end", lambda *_: (CONFIG, summary))
    own_images.run([str(tmp_path / "leaves"), "--results", str(tmp_path)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "| leaves | 3 | 90 | 50 | herding | 25.0 |  | 65.0 ± 7.1 |  | 1 |"


def test_the_sets_of_a_folder_share_a_line_with_gains_paired_by_set() -> None:
    about = dict(zip(own_images.ABOUT, ["leaves", "3", "90", "50", "dm"], strict=True))
    values = [("60 64", "58", "40"), ("70 74", "70", "42")]
    rows = [
        {**about, "preset": "cpu", "accuracies": ours, "herding": herding, "random": random}
        for ours, herding, random in values
    ]
    last = own_images.table(rows).splitlines()[-1]
    accuracies = "41.0 ± 1.4 | 64.0 ± 8.5 | 67.0 ± 6.2"
    gain = "+3.0 [-9.7, +15.7]"  # 4 and 2; t = 12.706 with one degree of freedom
    assert last == f"| leaves | 3 | 90 | 50 | dm | {accuracies} | {gain} | 2 |"


def test_two_folders_of_one_name_are_an_error() -> None:
    with pytest.raises(UserError, match="two folders have the same name"):
        own_images.run(["a/train", "b/train"])
