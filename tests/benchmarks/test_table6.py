"""Finished searches beside the paper's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.paper import table6
from benchmarks.paper.table6 import (
    PAPER,
    PAPERS_SCALE,
    PAPERS_STEPS,
    as_published,
    command,
    is_papers,
    markdown,
)
from benchmarks.rows import read_rows
from condense import UserError
from condense.config.serialization import record
from nas import Row, Table, search
from nas.ranking import Correlation, Ranking
from tests.helpers.processes import ROOT

GROUND_TRUTH = {"a": 0.9, "b": 0.8, "c": 0.6, "d": 0.7}
DSA = {"a": 0.4, "b": 0.5, "c": 0.3, "d": 0.2}
"""Selected: b, with a regret of 10 points. Ranks 2 1 3 4 beside 1 2 4 3: ρ = 1 - 6·4 / (4·15)."""

NO_AGREEMENT = Ranking(*3 * [Correlation(None, None, None, 0)], top={}).as_dict()


def write_run(folder: Path, proxy: str, accuracies: dict[str, float], **more: Any) -> Path:
    """A finished run, as `nas.search` leaves it."""
    folder.mkdir(parents=True)
    steps = 50_000 if proxy == "whole" else 300
    rows = [
        Row(index, name, parameters=10 * index, score=value, accuracy=value, steps=steps)
        for index, (name, value) in enumerate(accuracies.items())
    ]
    for index in range(more.get("pruned", 0)):
        rows.append(Row(4 + index, f"pruned {index}", status="pruned", steps=steps // 8))
    Table(rows, proxy, "cifar10", "ab", "cd", "ef").write(folder / "architectures.csv")
    summary = {
        "proxy": proxy, "dataset": "cifar10", "image_size": 16,
        "best": max(accuracies, key=lambda name: accuracies[name]),
        "best_accuracy": None, "regret": None, "top_fraction": 0.5, "n_complete": 4,
        "seconds_search": 90.0, "seconds_proxy": 30.0, "seconds_wall": 120.0, "workers": 1,
        "images": 100, "steps": steps, "preset": "cpu", "seed": 0, "device": "cpu",
        "pruned": 0, "failed": 0, "steps_saved": 0.0, "retrained_steps": None,
        "proxy_from_cache": False, **NO_AGREEMENT, **more,
    }  # fmt: skip
    settings = record(search.defaults("cpu", proxy), without=("out", "resume", "quiet"))
    settings["common"]["preset"] = "cpu"
    config = {"settings": settings, "data": {"train": 50_000, "sha256": "ab"}}
    for name, content in (("summary", summary), ("config", {**config, "version": "1"})):
        text = json.dumps({**content, "commit": "c"})
        (folder / f"{name}.json").write_text(text)
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [
        write_run(tmp_path / "dsa", "dsa", DSA),
        write_run(tmp_path / "whole", "whole", GROUND_TRUTH, images=50_000),
    ]


def test_rows_by_hand(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table6.run([*map(str, runs), "--results", str(tmp_path / "results")])
    dsa, whole = read_rows(tmp_path / "results" / "table6.csv")
    assert (dsa["proxy"], dsa["selected"]) == ("dsa", "b")
    assert (dsa["accuracy"], dsa["regret"]) == ("0.8", "0.1")
    assert (dsa["spearman_all"], dsa["spearman_all_n"]) == ("0.6", "4")
    assert -1 <= float(dsa["spearman_all_low"]) <= 0.6 <= float(dsa["spearman_all_high"]) <= 1
    assert (dsa["spearman_top"], dsa["spearman_top_n"]) == ("", "2"), "two say nothing"
    assert float(dsa["kendall_all"]) == pytest.approx(1 / 3, abs=1e-4)
    assert (dsa["seconds_search"], dsa["images_stored"], dsa["image_size"]) == ("90.0", "100", "16")
    assert (dsa["ground_truth_steps"], dsa["ground_truth_architectures"]) == ("50000", "4")
    assert dsa["command"] == "python -m nas.search --proxy dsa --preset cpu"
    for column in ("preset", "device", "version", "commit", "processor", "date", "images"):
        assert dsa[column]
    assert (whole["proxy"], whole["regret"], whole["spearman_all"]) == ("whole", "0.0", "1.0")
    kept = read_rows(tmp_path / "results" / "table6-architectures.csv")
    assert {row["architecture"]: float(row["dsa"]) for row in kept} == DSA
    assert {row["architecture"]: float(row["ground_truth"]) for row in kept} == GROUND_TRUTH
    assert list(kept[0]) == ["architecture", "parameters", "dsa", "ground_truth"]
    with Image.open(tmp_path / "results" / "figure4.png") as picture:
        assert picture.size[0] > 1.5 * picture.size[1], "a scatter and the rankings"
    printed = capsys.readouterr().out.splitlines()
    cells = printed[2].split(" | ")
    assert cells[:6] == [
        *("| dsa", "reduced (cpu): 4 networks, cifar10 at 16×16, ground truth of 50000 steps"),
        *("80.0", "81.3", "", "10.0"),
    ]
    assert cells[-4:] == ["2.0", "44.5", "100", "100 |"]


def test_runs_that_make_no_table(runs: list[Path], tmp_path: Path) -> None:
    again = write_run(tmp_path / "again", "dsa", DSA)
    for paths, said in (
        ([*runs, again], "give one run of each proxy, not several of dsa"),
        (runs[:1], "give the run with --proxy whole too"),
        ([*runs, tmp_path], "is not a finished run"),
    ):
        with pytest.raises(UserError, match=said):
            table6.read_runs(paths)


def test_a_pruned_search_is_a_row_of_its_own(runs: list[Path], tmp_path: Path) -> None:
    early = write_run(tmp_path / "early", "dsa", DSA, pruned=2, steps_saved=0.5)
    table6.run([*map(str, [*runs, early]), "--results", str(tmp_path / "results")])
    rows = read_rows(tmp_path / "results" / "table6.csv")
    assert [(row["proxy"], row["steps_saved"]) for row in rows] == [
        *(("dsa", "0.0"), ("whole", "0.0"), ("dsa, pruned", "0.5"))
    ]
    kept = read_rows(tmp_path / "results" / "table6-architectures.csv")
    assert list(kept[0]) == ["architecture", "parameters", "dsa", "dsa, pruned", "ground_truth"]


def test_only_what_is_measured_as_in_the_paper_is_compared_with_it() -> None:
    correlations = {
        f"{name}{part}": 0.5 for name in table6.CORRELATIONS for part in ("", "_low", "_high", "_n")
    }
    row = {
        **{"proxy": "dsa", "accuracy": 0.8, "regret": 0.05, "steps": PAPERS_STEPS},
        **{**PAPERS_SCALE, **correlations, "seconds_wall": 60.0, "images_stored": 100},
        "as_published": True,
    }
    assert is_papers(row)
    line = markdown([row]).splitlines()[2]
    assert line.startswith("| dsa | as in the paper | 80.0 | 81.3 | -1.3 | 5.0 |")
    reductions = {
        **{"preset": "cpu", "dataset": "mnist", "image_size": 16, "n_complete": 36},
        **{"ground_truth_steps": 1000, "steps": 200, "as_published": False},
    }
    for name, value in reductions.items():
        reduced = {**row, name: value}
        assert not is_papers(reduced)
        assert markdown([reduced]).splitlines()[2].split(" | ")[2:5] == ["80.0", "81.3", ""]
    whole = {**row, "proxy": "whole"}
    assert not is_papers(whole)
    assert is_papers({**whole, "steps": PAPERS_SCALE["ground_truth_steps"]})


@pytest.mark.parametrize(
    ("flags", "published"),
    [
        ([], True),
        (["--workers", "4", "--seed", "3", "--no-cache", "--dataset", "cifar10"], True),
        (["--training.lr", "0.5"], False),
        (["--condensing.iterations", "1"], False),
        (["--prune"], False),
        (["--proxy", "dsa.safetensors"], False),
    ],
)
def test_whether_settings_are_the_presets(flags: list[str], published: bool) -> None:
    given = ["--preset", "paper", "--proxy", "dsa", *flags]
    settings = search.parse(search.defaults, given, search.PROG)
    kept = record(settings, without=("out", "resume", "quiet"))
    assert as_published(kept) == published


def test_the_papers_figures_that_its_text_quotes() -> None:
    assert 100 * PAPER["dsa"].minutes / PAPER["whole"].minutes == pytest.approx(1.2, abs=0.05)
    assert (PAPER["dsa"].correlation, PAPER["early-stopping"].correlation) == (0.76, 0.48)
    assert PAPER["random"].images == 0.002 * PAPER["whole"].images
    assert PAPER["early-stopping"].images == 0.6 * PAPER["whole"].images


@pytest.mark.parametrize(
    "flags",
    [
        "--proxy early-stopping --preset smoke --n-trials 5 --no-cache "
        "--training.no-augment --training.epochs 7 --seed 2",
        "--proxy dsa --preset cpu --condensing.storage float32 --training.epochs 7",
        "--proxy random --preset smoke --retraining.epochs 7 --retraining.networks 2",
    ],
)
def test_a_command_gives_the_settings_it_was_made_from(flags: str) -> None:
    settings = search.parse(search.defaults, flags.split(), search.PROG)
    said = command(record(settings, without=("out", "resume", "quiet")))
    assert said.startswith(f"python -m nas.search --proxy {settings.proxy} ")
    again = said.removeprefix("python -m nas.search ").split()
    assert search.parse(search.defaults, again, search.PROG) == settings
    assert sorted(again) == sorted(flags.split())


def test_the_command_as_a_user_runs_it(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    for proxy in ("whole", "random"):
        flags = (
            f"--proxy {proxy} --dataset digits --preset smoke --n-trials 4 --quiet --out {proxy}"
        )
        search.run(flags.split())
    here = {"PYTHONPATH": str(ROOT)}
    made = command("benchmarks.paper.table6", "random", "whole", "--results", "found", **here)
    assert len(made.stdout.splitlines()) == 4
    rows = read_rows(tmp_path / "found" / "table6.csv")
    assert [row["proxy"] for row in rows] == ["random", "whole"]
    assert rows[0]["command"].startswith("python -m nas.search --proxy random --dataset digits")
