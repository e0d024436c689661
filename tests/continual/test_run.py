from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from condense import CondensedSet, ImageData, Progress, UserError
from condense.cli.flags import parse
from condense.cli.run import open_run
from continual.report import (
    forgetting,
    mean_and_std,
    mean_matrix,
    short_names,
    stage_averages,
    table,
)
from continual.run import PROG, check_fits, defaults, finish
from continual.settings import (
    Storage,
    StreamSpec,
)
from tests.helpers.browser import check_page
from tests.helpers.buffers import few
from tests.helpers.modules import run_module
from tests.helpers.processes import ROOT
from tests.helpers.split_images import write_images
from tests.helpers.tiny_streams import TINY_EEIL, tasks

TINY = [
    *("--preset", "smoke", "--width", "8", "--images-per-class", "2"),
    *("--epochs-first", "2", "--epochs", "1", "--finetune-epochs", "2", "--no-cache", "--quiet"),
]
PIXELS = ("--storage", "pixels")


def learn(arguments: list[str], stream: tuple[ImageData, ...] = tasks()) -> None:
    """The command on the tiny stream or another."""
    from continual.experiment import Experiment

    settings = parse(defaults, arguments, PROG).on(StreamSpec(()))
    about = {"stream": "tiny", "data": [task.describe() for task in stream]}
    with open_run(PROG, settings, "continual", **about) as folder:
        results = Experiment(settings, list(stream), folder, torch.device("cpu")).run()
        finish(folder, settings, "tiny", stream, results, "cpu")


def results(folder: Path) -> dict[str, Any]:
    """Everything that must come out the same, byte for byte; so, less the times."""
    summary = json.loads((folder / "summary.json").read_text())
    summary.pop("seconds")
    summary["per_seed"].pop("seconds")
    kept = {path.name: path.read_bytes() for path in folder.glob("condensed*.safetensors")}
    kept["report"] = (folder / "report.html").read_bytes()
    return {"summary": summary, "history": (folder / "history.csv").read_text(), **kept}


@pytest.mark.parametrize(("memory", "moments"), [("dsa", (1, 9, 20)), ("herding", (1, 3, 9, 20))])
def test_a_run_goes_on_from_any_moment_and_gives_the_same(
    memory: str, moments: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the disk at some moment is what a kill -9 at that moment would leave."""
    whole = tmp_path / "whole"
    seen: list[int] = []
    show = Progress.report

    def report(self: Progress, done: int, total: int, **metrics: float) -> None:
        seen.append(done)
        if len(seen) in moments:
            shutil.copytree(whole, tmp_path / str(len(seen)))
        show(self, done, total, **metrics)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "report", report)
        learn([*TINY, "--memory", memory, "--seeds", "2", "--out", str(whole)])
    expected = results(whole)
    assert len(expected) == 3 + 2 * len(tasks())
    interrupted = [path for path in tmp_path.iterdir() if path != whole]
    assert len(interrupted) >= 3
    for folder in interrupted:
        learn(["--resume", str(folder), "--quiet"])
        assert results(folder) == expected, f"stopped at step {folder.name}"


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_what_a_run_leaves(head: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*TINY, *PIXELS, "--memory", "random", "--head", head, "--no-distill"]
    learn([*arguments, "--out", str(tmp_path / "run")])
    learn([*arguments, "--out", str(tmp_path / "again")])
    assert results(tmp_path / "run") == results(tmp_path / "again")
    summary = results(tmp_path / "run")["summary"]
    assert summary["memory_images"] == 60
    assert summary["memory_bytes"] == 60 * 3 * 16 * 16
    assert (summary["head"], summary["distill"], summary["seeds"]) == (head, False, [0])
    matrix = summary["accuracy_matrix"]
    assert [value is None for value in matrix[0]] == [False, *[head != "domain"] * 2]
    assert summary["average_accuracy"][2] == pytest.approx(sum(matrix[2]) / 3)
    for number, task in enumerate(tasks(), 1):
        kept = CondensedSet.load(tmp_path / "run" / f"condensed-{number}.safetensors")
        assert (kept.class_names, kept.provenance["dataset"]) == (task.class_names, task.name)
        assert kept.labels.bincount().tolist() == [2] * 10
        assert kept.bytes - 20 * 3 * 16 * 16 == 24  # black and white of each channel
    for picture in ("memory", "accuracy_matrix", "stages"):
        with Image.open(tmp_path / "run" / f"{picture}.png") as opened:
            assert min(opened.size) > 50
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()
    printed = capsys.readouterr().out
    assert "T3 (+ turned)" in printed
    assert printed.splitlines()[-1] == f"  {tmp_path / 'again' / 'report.html'}"
    check_page(tmp_path / "run" / "report.html", "Accuracy matrix", "right after each task")
    assert f"{tmp_path / 'run' / 'stages.png'}" in printed


def test_seeds_share_nothing(tmp_path: Path) -> None:
    """Else the spread over them would be too small."""
    data = replace(tasks()[0], hflip=True)
    made = defaults("smoke", memory="random")
    settings = replace(made, head="domain", images_per_class=2, eeil=TINY_EEIL)
    folder: Any = SimpleNamespace(path=tmp_path)
    from continual.experiment import Experiment

    experiment = Experiment(settings, [data], folder, torch.device("cpu"))
    weights, chosen, heads, seeds = [], [], [], []
    for seed in (0, 1, 0):
        strategy = experiment._strategy(seed)
        assert strategy.augmentation == ("color", "crop", "flip")
        weights.append(strategy.model.features.state_dict()["0.weight"].clone())
        (experience,) = experiment.benchmark.train_stream
        strategy.memory.post_adapt(strategy, experience)
        chosen.append(strategy.memory.samples.images)
        strategy.model.adaptation(experience)
        heads.append(strategy.model.heads[0].weight)
        seeds.append(strategy.seed)
    for drawn in (weights, chosen, heads):
        assert torch.equal(drawn[0], drawn[2])
        assert not torch.equal(drawn[0], drawn[1])
    assert seeds == [0, 1, 0]


def test_a_fixed_total_of_images(tmp_path: Path) -> None:
    flags = [*TINY, *PIXELS, "--memory", "random", "--memory-size", "70"]
    learn([*flags, "--out", str(tmp_path / "run")])
    assert results(tmp_path / "run")["summary"]["memory_images"] == 70


def test_the_same_images_come_again_with_a_smaller_share(tmp_path: Path) -> None:
    """The first condensation leaves a checkpoint until the end of the seed."""
    flags = [*TINY, *PIXELS, "--memory", "dsa", "--memory-size", "60"]
    learn([*flags, "--out", str(tmp_path / "run")], (tasks()[0], tasks()[0]))
    assert results(tmp_path / "run")["summary"]["memory_images"] == 60


def test_averages_and_forgetting_by_hand() -> None:
    matrix = [[0.8, None, None], [0.6, 0.9, None], [0.5, 0.7, 1.0]]
    assert stage_averages(matrix) == pytest.approx([0.8, 0.75, 2.2 / 3])
    assert forgetting(matrix) == pytest.approx((0.3 + 0.2) / 2)
    assert forgetting([[0.5]]) == 0
    mean, std = mean_and_std([[0.1, 0.5], [0.3, 0.5]])
    assert mean == pytest.approx([0.2, 0.5])
    assert std == pytest.approx([0.02**0.5, 0.0])  # n - 1
    assert mean_and_std([[0.1]]) == ([0.1], [0.0])
    assert mean_matrix([[[0.2, None]], [[0.4, None]]]) == [[pytest.approx(0.3), None]]
    assert short_names(["svhn 0,1", "svhn 2,3"]) == ["0,1", "2,3"]
    for whole in (["svhn", "mnist"], ["svhn"], ["svhn 0,1", "mnist 2,3"]):
        assert short_names(whole) == whole
    assert table(["a"], [0.5], [0.012]).splitlines()[1].strip() == "50.0 ± 1.2 %"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--seeds", "0"], "seeds must be at least 1"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--steps-per-epoch", "0"], "steps-per-epoch must be at least 1"),
        (["--temperature", "0"], "temperature must be at least 0.01"),
        (["--condensing.dsa-strategy", "zoom"], "zoom"),
        (["--condensing.ipc", "3"], "--images-per-class"),
        (["--condensing.storage", "pixels"], "a replay memory stores images by its own storage"),
        (["--storage", "float32"], "pixels"),
        (["--storage", "dct", "--factor", "2"], "1 with storage dct: omit it"),
        (["--memory-size", "29"], "at least 30"),
        (["--batch-size-mem", "nan"], "batch-size-mem"),
        (
            ["--batch-size", "8", "--batch-size-mem", "8"],
            "batch-size-mem must be below batch-size, which is 8",
        ),
        (["--momentum", "-1"], "momentum must be at least 0, not -1"),
        (["--noise-gamma", "-1"], "noise-gamma must be at least 0, not -1"),
        (["--images-per-class", "1", "--depth", "5"], "too small for the network"),
        (["--memory", "dssa"], "unknown memory 'dssa'; known: dsa"),
        (["--memory", "auto"], "auto chooses the method of a set"),
        (["--er-ace", "--head", "task"], "--er-ace is only for --head class, not for --head task"),
        (["--er-ace"], "--er-ace is only for --head class, not for --head domain"),
    ],
)
def test_wrong_settings_are_said_in_a_line(flags: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:  # noqa: PT012 any of them may raise
        settings = parse(defaults, ["--preset", "smoke", *flags], PROG).on(StreamSpec(()))
        check_fits(settings, tasks())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "short"),
    [
        (["--images-per-class", "4", "--storage", "dct"], "0"),
        (["--images-per-class", "1", "--factor", "2"], "0"),
        (["--memory-size", "300"], "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ],
)
def test_a_class_that_does_not_fill_its_share_keeps_its_images(
    flags: list[str], short: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = (few(tasks()[0], class_0=3), tasks()[1])
    arguments = [*TINY, "--memory", "dm", *flags]
    check_fits(parse(defaults, arguments, PROG).on(StreamSpec(())), stream)
    assert f"takes all training images of {short}, which do not" in capsys.readouterr().err
    learn([*arguments, "--out", str(tmp_path / "run")], stream)
    first = CondensedSet.load(tmp_path / "run" / "condensed-1.safetensors")
    assert first.labels.bincount()[0] == 3
    assert first.labels.bincount()[1] > 3


def test_classes_that_fill_their_share_need_no_note(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--images-per-class", "12"], ["--memory-size", "129"]):
        check_fits(parse(defaults, [*TINY, *PIXELS, *flags], PROG).on(StreamSpec(())), tasks())
    assert capsys.readouterr().err == ""


def test_unusual_classes_of_own_streams_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    settings = parse(defaults, ["--preset", "smoke", "--memory", "random", "--head", "class"], PROG)
    whole = tasks()[0]
    check_fits(settings, [whole.with_classes(labels) for labels in ([0, 1], [2, 3])])
    assert capsys.readouterr().err == ""
    check_fits(settings, [whole.with_classes(labels) for labels in ([0, 1], [1, 2])])
    assert "note: several tasks have 1: with --head class each is" in capsys.readouterr().err
    check_fits(settings, [whole.with_classes(labels) for labels in ([0, 1], [2])])
    assert "single output" in capsys.readouterr().err


@pytest.mark.parametrize(("classes", "er_ace"), [(1, False), (2, True)])
def test_er_ace_is_for_several_classes(classes: int, er_ace: bool) -> None:
    found = defaults("cpu", "random", f"digits:classes={classes}")
    assert (found.eeil.er_ace, found.storage, found.eeil.batch_size_mem) == (er_ace, "dct", 64)


def test_learnt_labels_are_saved_with_their_images(tmp_path: Path) -> None:
    parts = tuple(tasks()[0].with_classes(range(first, first + 5)) for first in (0, 5))
    flags = ["--memory", "ld", "--head", "class", "--out", str(tmp_path / "run")]
    learn([*TINY, *flags], parts)
    kept = CondensedSet.load(tmp_path / "run" / "condensed-2.safetensors")
    assert kept.labels.shape == (len(kept.images), 5)
    assert kept.hard_labels.unique().tolist() == [0, 1, 2, 3, 4]
    assert not kept.labels.equal(F.one_hot(kept.hard_labels).float()), "they were learnt"
    assert (tmp_path / "run" / "memory.png").is_file()


def test_a_shared_head_for_too_few_classes_is_said_before_any_training() -> None:
    parts = [tasks()[0].with_classes(labels) for labels in ([0, 1], [2, 3, 4])]
    flags = ["--preset", "smoke", "--memory", "random", "--images-per-class", "1"]
    for head in ("task", "class"):
        check_fits(parse(defaults, [*flags, "--head", head], PROG), parts)
    with pytest.raises(
        UserError, match=r"2 classes of the first task, and .* has 3: choose --head"
    ):
        check_fits(parse(defaults, [*flags, "--head", "domain"], PROG), parts)


def test_a_class_without_images_is_said_before_any_training() -> None:
    settings = parse(defaults, ["--preset", "smoke", "--memory", "random"], PROG)
    with pytest.raises(UserError, match="fewer than 1 training images of 4: give it some, or"):
        check_fits(settings.on(StreamSpec(())), [few(tasks()[0], class_4=0)])


@pytest.mark.parametrize(("head", "least"), [("domain", 12), ("task", 10), ("class", 10)])
@pytest.mark.parametrize("storage", ["pixels", "ycbcr420", "dct"])
def test_the_least_memory_has_an_image_of_each_class(
    head: str, least: int, storage: Storage
) -> None:
    """With head domain label 0 is in four tasks, and all labels have equal shares."""
    from continual import RandomBuffer, make_benchmark

    parts = [tasks()[0].with_classes(labels) for labels in ([0, 1, 2], [3, 4, 5], [6, 7, 8], [9])]
    flags = ["--preset", "smoke", "--memory", "random", "--storage", storage, "--head", head]
    sizes = [[*flags, "--memory-size", str(size)] for size in (least - 1, least)]
    with pytest.raises(UserError, match=f"at least {least}, "):
        check_fits(parse(defaults, sizes[0], PROG), parts)
    check_fits(parse(defaults, sizes[1], PROG), parts)
    buffer = RandomBuffer(least, storage=storage)
    for experience in make_benchmark(parts, head).train_stream:
        buffer.post_adapt(None, experience)
    assert [group.experience for group in buffer.groups] == [0] * 3 + [1] * 3 + [2] * 3 + [3]


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_module(
        "continual.run",
        *arguments,
        folder=ROOT,
        environment={**os.environ, **environment},
        server="learning",
    )


@pytest.mark.xdist_group("kills")
def test_an_unknown_stream_is_one_line() -> None:
    wrong = command("--stream", "svhn-mnist", "--preset", "smoke")
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert wrong.stderr.splitlines()[-1].startswith("unknown stream 'svhn-mnist'; known: svhn")


@pytest.mark.xdist_group("kills")  # which have a server with Avalanche
def test_the_command_as_a_user_runs_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ("--preset", "smoke", "--stream", "synthdigits-mnist5k-digits")
    places = {"CONDENSE_DATA": str(tmp_path / "data"), "CONDENSE_CACHE": str(tmp_path / "cache")}
    size = ("--images-per-class", "2", "--out", str(out), "--quiet")
    made = command(*flags, *size, **places)
    assert made.returncode == 0, made.stderr
    assert made.stderr == ""
    assert "T3 (+ digits)" in made.stdout
    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert left >= {"config.json", "history.csv", "summary.json", "condensed-3.safetensors"}
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 3
    summary = json.loads((out / "summary.json").read_text())
    assert summary["stream"] == "synthdigits-mnist5k-digits"
    assert (summary["images_per_class"], summary["storage"]) == (2, "dct")
    assert summary["memory_images"] > 60
    assert 0.9 * 60 * 3 * 32 * 32 < summary["memory_bytes"] <= 60 * 3 * 32 * 32
    config = json.loads((out / "config.json").read_text())
    assert [data["name"] for data in config["data"]] == ["synthdigits", "mnist5k", "digits"]
    again = command(*flags, *size, **places)
    assert again.returncode == 2
    assert len(again.stderr.splitlines()) == 1


@pytest.mark.xdist_group("kills")
def test_a_split_stream_as_a_user_runs_it(tmp_path: Path) -> None:
    write_images(tmp_path, "fashionmnist", (28, 28))
    flags = ("--preset", "smoke", "--stream", "split-fashionmnist", "--memory", "random")
    places = {"CONDENSE_DATA": str(tmp_path), "CONDENSE_CACHE": str(tmp_path / "cache")}
    out = tmp_path / "run"
    made = command(*flags, "--images-per-class", "3", "--out", str(out), "--quiet", **places)
    assert made.returncode == 0, made.stderr
    assert "class head" in made.stdout
    assert "T5 (+ 8,9)" in made.stdout
    summary, config = (
        json.loads((out / f"{name}.json").read_text()) for name in ("summary", "config")
    )
    assert (summary["head"], config["settings"]["head"]) == ("class", "class")
    assert summary["images_per_class"] == 3
    assert summary["memory_images"] > 30
    assert summary["memory_bytes"] <= 30 * 28 * 28
    assert [row.count(None) for row in summary["accuracy_matrix"]] == [4, 3, 2, 1, 0]
    kept = CondensedSet.load(out / "condensed-1.safetensors")
    assert kept.class_names == ("T-shirt/top", "Trouser")


def test_one_seed_has_no_standard_deviation() -> None:
    names = ["svhn", "mnist"]
    assert table(names, [0.5, 0.625]).splitlines()[1].split() == ["50.0", "%", "62.5", "%"]
    assert "50.0 ± 1.0 %" in table(names, [0.5, 0.625], [0.01, 0.02])
