from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from condense import UserError
from nas import Row, Table, compare, report

ACCURACIES = {"a": 0.4, "b": 0.5, "c": 0.3, "d": 0.2}
SUMMARY = {
    "dataset": "digits", "image_size": 8, "proxy": "dsa", "n_complete": 4, "pruned": 0,
    "failed": 0, "n_remaining": 0, "top_fraction": 0.5, "best": "b", "best_accuracy": 0.5,
    "regret": None, "steps": 3, "steps_saved": 0.0, "retrained_steps": 8, "seconds_search": 1.5,
    "seconds_proxy": 0.0, "seconds_wall": 2.0, "proxy_from_cache": False, "images": 100,
    "workers": 1, "preset": "smoke", "seed": 0, "device": "cpu",
    "spearman_top": None, "spearman_top_interval": [None, None], "spearman_top_n": 0,
    "spearman_all": 0.25, "spearman_all_interval": [-1.0, 1.0], "spearman_all_n": 4,
    "kendall_all": None, "kendall_all_interval": [None, None], "kendall_all_n": 0,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run; comparisons are made in the folder that it is in."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    folder.mkdir()
    rows = [
        Row(index, name, {"depth": index}, 10 + index, score=value, accuracy=value, steps=3)
        for index, (name, value) in enumerate(ACCURACIES.items())
    ]
    Table(rows, "whole", "digits", "ab", "cd", "ef").write(folder / "architectures.csv")
    (folder / "summary.json").write_text(json.dumps(SUMMARY))
    return folder


def compared(*arguments: object) -> None:
    compare.run([*map(str, arguments)])


def refused(match: str, *arguments: object) -> None:
    with pytest.raises(UserError, match=match) as caught:
        compared(*arguments)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


def test_a_run_is_compared_with_itself(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(run, run, "--out", tmp_path / "both.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:2] == ["dsa", f"({run})"]
    assert lines[1].split()[2:7] == ["4", "b", "50.0", "%", "0.0"]
    assert lines[1] == lines[2]
    assert (tmp_path / "both.png").is_file()


@pytest.mark.parametrize(
    ("retrained", "accuracy", "regret"),
    [(None, None, None), (3, 0.5, 0.2), (8, 0.5, None)],
    ids=["from another ground truth", "retrained as long", "retrained longer"],
)
def test_the_selected_architecture_is_not_in_the_common_ground_truth(
    run: Path, tmp_path: Path, retrained: int | None, accuracy: float | None, regret: float | None
) -> None:
    (run / "summary.json").write_text(json.dumps({**SUMMARY, "retrained_steps": retrained}))
    rows = [Row(0, "a", parameters=10, score=0.7, accuracy=0.7, steps=3)]
    Table(rows, "whole", "digits", "ab", "cd", "ef").write(tmp_path / "common.csv")
    (found,) = compare.with_common_ground_truth([compare.read(run)], tmp_path / "common.csv")
    assert found.summary["best"] == "b"
    assert found.summary["best_accuracy"] == accuracy
    assert found.summary["regret"] == (None if regret is None else pytest.approx(regret))


def test_runs_of_one_proxy_are_told_apart_by_their_folders(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in ("other", "a\x1bb", "deep/run"):
        shutil.copytree(run, tmp_path / other)
    (tmp_path / "other" / "summary.json").write_text(json.dumps({**SUMMARY, "proxy": "dm"}))
    monkeypatch.chdir(run)

    def names(*paths: str) -> list[str]:
        compared(*paths, "--out", tmp_path / "all.png")
        lines = capsys.readouterr().out.splitlines()[1:-1]
        return [line.partition("  ")[0] for line in lines]

    assert names(".", "../other") == ["dsa", "dm"]
    assert names(".", "../other", "../a\x1bb") == ["dsa (run)", "dm", "dsa (a\\x1bb)"]
    assert names(".", "../deep/run") == ["dsa (.)", "dsa (../deep/run)"]


def of(name: str, **columns: float) -> compare.Compared:
    """A run with one architecture, which has these values."""
    rows = [replace(Row(0, "a", parameters=10), **columns)]
    return compare.Compared(name, Table(rows, name, "digits", "ab", "cd", "ef"), SUMMARY)


def test_one_axis_shows_values_of_one_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Accuracies in per cent beside numbers of parameters would show nothing."""
    known = of("dsa", score=0.5, accuracy=0.5, ground_truth=0.75)
    unknown = of("dm", score=0.5, accuracy=0.5)
    parameters = of("parameters", score=10.0)
    note = "note: {} of {} runs have {}: only their rankings are compared\n"
    for runs, expected, said in (
        ([known, known], [known, known], ""),
        ([known, unknown, parameters], [known], note.format(1, 3, "a ground truth")),
        ([unknown, parameters], [unknown], note.format(1, 2, "trained networks")),
        ([parameters], [parameters], ""),
    ):
        assert compare.on_one_axis(runs) == expected
        assert capsys.readouterr().err == said
    drawn: list[str] = []
    monkeypatch.setattr(report, "ranking", lambda axes, rows, name: drawn.append(name))
    compare.plot(tmp_path / "all.png", [parameters, known, unknown])
    assert drawn == ["dsa"]


def test_no_architecture_is_in_the_common_ground_truth(run: Path, tmp_path: Path) -> None:
    """Its best accuracy is of another space, so a regret would mean nothing."""
    rows = [Row(0, "other", parameters=10, score=0.7, accuracy=0.7, steps=3)]
    Table(rows, "whole", "digits", "ab", "cd", "ef").write(tmp_path / "common.csv")
    said = "none of the architectures of dsa is in the ground truth: give a ground truth"
    refused(said, run, "--ground-truth", tmp_path / "common.csv")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    replace(Table.read(tmp_path / "common.csv"), proxy="dm").write(other / "architectures.csv")
    own = {"proxy": "dm", "n_complete": 1, "best": "other"}
    (other / "summary.json").write_text(json.dumps({**SUMMARY, **own}))
    refused("none of the architectures of dm is in the ground truth", run, other)


def test_a_name_is_no_formula(run: Path, tmp_path: Path) -> None:
    (run / "summary.json").write_text(json.dumps({**SUMMARY, "proxy": "of/$a^^_$.safetensors"}))
    compared(run, "--out", tmp_path / "one.png")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("spearman_all", {}),
        ("spearman_all", "0.5"),
        ("spearman_all", 1.5),
        ("spearman_all_interval", {}),
        ("spearman_all_interval", "ab"),
        ("spearman_all_interval", [0.5]),
        ("spearman_all_interval", [{}, None]),
        ("spearman_all_n", None),
        ("images", -1),
        ("images", True),
        ("images", 10**30),
        ("images", 1.5),
        ("best_accuracy", "text"),
        ("best_accuracy", float("nan")),
        ("best_accuracy", 50),
        ("regret", float("inf")),
        ("top_fraction", 1.5),
        ("top_fraction", None),
        ("seconds_wall", "1"),
        ("best", ["b"]),
        ("best", "b\nc"),
        ("best", "\ud800"),
        ("proxy", 5),
        ("proxy_from_cache", 0),
        ("seed", "0"),
    ],
)
def test_a_summary_with_an_odd_value(run: Path, entry: str, value: Any) -> None:
    (run / "summary.json").write_text(json.dumps({**SUMMARY, entry: value}))
    refused(rf"summary.json is damaged: summary.{entry}", run)


def test_a_summary_without_an_entry(run: Path) -> None:
    for entry in SUMMARY.keys() - {"n_remaining"}:
        left = {name: value for name, value in SUMMARY.items() if name != entry}
        (run / "summary.json").write_text(json.dumps(left))
        refused(rf"summary.json is damaged: summary.{entry} is missing", run)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"5",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"images": ' + b"9" * 5000 + b"}",
        bytes(range(256)),
    ],
    ids=["empty", "list", "number", "torn", "nested", "nested objects", "digits", "garbage"],
)
def test_a_summary_that_is_none(run: Path, content: bytes) -> None:
    (run / "summary.json").write_bytes(content)
    refused("summary.json(:| is damaged:)", run)


def table_with(column: str, value: str) -> Callable[[bytes], bytes]:
    """Puts a value into the first row of a table."""

    def change(content: bytes) -> bytes:
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        rows[0][column] = value
        written = io.StringIO()
        writer = csv.DictWriter(written, [*rows[0]], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return written.getvalue().encode()

    return change


TABLES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "no rows": lambda content: content.splitlines(keepends=True)[0],
    "no such columns": lambda _: b"a,b\n1,2\n",
    "one column less": lambda content: content.replace(b"seconds", b"hours"),
    "a short line": lambda content: content + b"9,x\n",
    "a long line": lambda content: content.replace(b"whole", b"whole,", 1),
    "the same line twice": lambda content: content + content.splitlines(keepends=True)[-1],
    "two of a name": table_with("architecture", "b"),
    "two of an index": table_with("index", "1"),
    "garbage": lambda content: content + bytes(range(256)),
    "zeros": lambda content: bytes(len(content)),
    "an endless cell": table_with("architecture", "x" * 200_000),
    "an open quote": lambda content: content.replace(b"a,", b'"a,', 1),
    "no index": table_with("index", ""),
    "a negative index": table_with("index", "-1"),
    "text for a number": table_with("parameters", "many"),
    "5000 digits": table_with("parameters", "9" * 5000),
    "4000 digits": table_with("parameters", "9" * 4000),
    "an accuracy of 5000 digits": table_with("accuracy", "9" * 5000),
    "an accuracy above 1": table_with("accuracy", "1.5"),
    "an accuracy of nan": table_with("accuracy", "nan"),
    "a score of infinity": table_with("score", "inf"),
    "no score": table_with("score", ""),
    "an unknown status": table_with("status", "done\nand dusted"),
    "failed with a score": table_with("status", "failed"),
    "seconds of nan": table_with("seconds", "nan"),
    "images of another set": table_with("images_sha256", "cd"),
    "no networks": table_with("networks", "0"),
    "half a network": table_with("networks", "0.5"),
}


@pytest.mark.parametrize("damage", TABLES)
def test_a_damaged_table(run: Path, tmp_path: Path, damage: str) -> None:
    path = run / "architectures.csv"
    whole = path.read_bytes()
    damaged = TABLES[damage](whole)
    assert damaged != whole
    path.write_bytes(damaged)
    refused(r"architectures.csv(:| is| contains| with)", run)
    other = tmp_path / "other.csv"
    path.rename(other)
    path.write_bytes(whole)
    refused(r"other.csv(:| is| contains)", run, "--ground-truth", other)


def test_a_table_without_any_score(run: Path) -> None:
    rows = [Row(0, "a", status="failed"), Row(1, "b", status="pruned")]
    Table(rows, "dsa", "digits", "ab", "cd", "ef").write(run / "architectures.csv")
    refused("none of its architectures has a score", run)


@pytest.mark.parametrize(
    "other", [{"n_complete": 3}, {"pruned": 1}, {"failed": 1}, {"best": "a"}], ids=str
)
def test_a_table_and_a_summary_of_different_sessions(run: Path, other: dict[str, Any]) -> None:
    (run / "summary.json").write_text(json.dumps({**SUMMARY, **other}))
    refused(r"architectures.csv and summary.json of .*run do not belong together: .*--resume", run)


def test_other_networks_of_the_same_names(run: Path, tmp_path: Path) -> None:
    table = Table.read(run)
    larger = [replace(row, parameters=row.parameters + 1) for row in table.rows]
    replace(table, rows=larger).write(tmp_path / "larger.csv")
    refused("a has 11 parameters there, and 10 here", run, "--ground-truth", "larger.csv")
    replace(table, build_sha256="one").write(run / "architectures.csv")
    replace(table, build_sha256="two").write(tmp_path / "edited.csv")
    refused("with another `build`", run, "--ground-truth", "edited.csv")
    unshared = [replace(row, architecture=f"my {row.architecture}") for row in table.rows]
    replace(table, rows=unshared, build_sha256="two").write(tmp_path / "unshared.csv")
    refused("none of the architectures of dsa is in", run, "--ground-truth", "unshared.csv")


def test_other_test_images(run: Path, tmp_path: Path) -> None:
    table, other = Table.read(run), tmp_path / "other"
    shutil.copytree(run, other)
    replace(table, test_sha256="one").write(run / "architectures.csv")
    replace(table, test_sha256="two").write(other / "architectures.csv")
    refused("the runs used different test images of digits", run, other)
    refused("with other test images of digits", run, "--ground-truth", other)


def test_a_run_of_another_command(run: Path, tmp_path: Path) -> None:
    """It has a summary too, with other entries."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "summary.json").write_text(json.dumps({"dataset": "digits", "accuracy_mean": 0.5}))
    refused("other is not a finished run of python -m nas.search", run, other)


def test_folders_in_the_place_of_files(run: Path) -> None:
    for name in ("architectures.csv", "summary.json"):
        (run / name).unlink()
        (run / name).mkdir()
        refused(f"{name}", run)


def test_names_that_lead_nowhere(run: Path) -> None:
    long = "x" * 3000
    refused("cannot read xxx|: xxx", long)
    refused("--ground-truth: xxx", run, "--ground-truth", long)
    refused("is not a finished run", "~nosuchuser/x")
    refused("is not a finished run", "a\nb")
    refused(
        "there is no such file|cannot be used: Could not", run, "--ground-truth", "~nosuchuser/x"
    )
    refused("it is not a file", run, "--ground-truth", "/dev/zero")
    for name in ("", "picture", "picture.jpg"):
        refused("--out: .* must end with .png", run, "--out", name)
    refused("at most 100", *[run] * 101)
