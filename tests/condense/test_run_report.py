"""What report.html of a run and of an evaluation proposes does what it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from condense import Accuracy, CondensedSet, __main__, condense, load, run_report, zoo
from condense.methods import automatic
from nas import search
from tests.helpers.command_lines import parse
from tests.helpers.folders import write_photos
from tests.helpers.pages import code, commands, headed_code

SMOKE = ("--preset", "smoke", "--quiet", "--no-cache", "--compare", "none")
pytestmark = pytest.mark.filterwarnings("ignore:.* found in sys.modules")
BRIEF = ("--n-trials", "1", "--retraining.networks", "0", "--quiet")


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))


def parsed(page: Path, start: str, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings of the proposed commands."""
    return [parse(line, monkeypatch) for line in commands(page, start)]


def searched(page: Path, out: str) -> None:
    """Run the proposed search, of one architecture."""
    (line,) = commands(page, "python -m nas.search ")
    search.run([*shlex.split(line)[3:], *BRIEF, "--out", out])
    assert Path(out, "summary.json").is_file()


def test_learnt_labels_have_bytes_of_their_own() -> None:
    digits = load("digits")
    made = condense(digits, "ld", preset="smoke", ipc=1)
    tested = run_report.Tested(Accuracy((0.5, 0.55)), {"random": Accuracy((0.5,))}, 3.2)
    second = run_report.result(made, tested, digits.describe()).splitlines()[1]
    assert second.startswith("random images in the same number: ")
    assert second.endswith("; a difference of +2.5 points, uncertain with so few networks")


@pytest.mark.parametrize(
    ("random", "words"),
    [((0.499, 0.501), "the set is 2.5 points better"), ((0.5249,), "the set is level"),
     ((0.75, 0.75), "the set is 22.5 points worse"),
     ((0.4, 0.612), "a difference of +1.9 points, uncertain with so few networks"),
     ((0.75,), "a difference of -22.5 points, uncertain with so few networks")],
)  # fmt: skip
def test_the_result_in_words(random: tuple[float, ...], words: str) -> None:
    digits = load("digits")
    about = digits.describe()
    made = condense(digits, "random", preset="smoke", ipc=1)
    tested = run_report.Tested(Accuracy((0.524, 0.526)), {"random": Accuracy(random)}, 3.2)
    first, second = run_report.result(made, tested, about).splitlines()
    assert first.endswith("52.5 ± 0.1 % (n = 2) in 3 s")
    assert second.endswith(f"; {words}")
    assert (
        run_report.result(made, tested, about, cached=True)
        .splitlines()[0]
        .endswith("from the cache or the zoo")
    )


def test_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its images, and the evaluation, are those of the run."""
    images = ("--dataset", "digits", "--size", "12", "--fit", "resize")
    tests = ("num-eval 1", "augment none", "network.width 8", "steps 3", "epoch-eval-train None")
    flags = [word for test in tests for word in f"--evaluation.{test}".split()]
    __main__.run([*images, "--method", "random", "--ipc", "2", *flags, *SMOKE, "--out", "one"])
    monkeypatch.chdir("one")
    page = Path("report.html")
    more, both, other = parsed(page, "python -m condense evaluate ", monkeypatch)
    assert (more.evaluation.num_eval, both.compare) == (20, "both")
    assert re.search(r"evaluation\.dsa-strategy</th>\s*<td[^>]*>default<", page.read_text())
    assert other.evaluation.network.architecture == "resnet18"
    for settings in (more, both):
        assert settings.evaluation.network.width == 8
    for settings in (more, both, other):
        assert settings.common.preset == "smoke"
        assert (settings.evaluation.augment, settings.evaluation.steps) == ("none", 3)
    (settings,) = parsed(page, "python -m nas.search ", monkeypatch)
    assert (settings.dataset, settings.image_size) == ("digits", 12)
    assert (settings.common.size, settings.common.fit) == (12, "resize")
    searched(page, "search")
    assert len(commands(page, "python -m condense export condensed.safetensors --to")) == 3
    for line, block in headed_code(page):
        assert line.startswith("In the folder of this report") == ("condensed.saf" in block), line


@pytest.mark.parametrize(
    ("asked", "method"), [("auto", "herding"), ("whole", "random"), ("random", "random")]
)
def test_the_settings_of_a_method_that_was_chosen(
    asked: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of a run that was resumed, which reads its set from the file."""
    monkeypatch.setattr(automatic, "MAX_GREY", 0)  # herding, which takes less time
    flags = ["--dataset", "digits", "--method", asked, "--ipc", "1", *SMOKE]
    flags += ["--evaluation.num-eval", "1", "--out"]
    with monkeypatch.context() as patch:
        patch.setattr(run_report, "write", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            __main__.run([*flags, "stopped"])
    __main__.run(["--resume", "stopped", "--quiet"])
    __main__.run([*flags, "made"])
    folders = Path("made"), Path("stopped")
    made, stopped = (json.loads((each / "summary.json").read_bytes()) for each in folders)
    settings = CondensedSet.load("made/condensed.safetensors").provenance["settings"]
    assert (made["method"], made["settings"]) == (method, settings)
    assert json.dumps(stopped["settings"]) == json.dumps(made["settings"])
    page, other = ((each / "report.html").read_text(encoding="utf-8") for each in folders)
    assert other == page.replace("--out made", "--out stopped")
    table = page.partition(f"Settings of {method}, which {asked} chose")[2]
    assert bool(table) == (asked != method)
    if table:
        assert re.search(rf"<th[^>]*>steps</th>\s*<td[^>]*>{settings['steps']}<", table)


def test_of_an_evaluation_on_the_images_of_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commands go together in every folder."""
    write_photos(tmp_path / "my photos")
    condense(load("my photos", size=16), "random", ipc=2).save("own.safetensors")
    images = ("--dataset", "my photos", "--size", "16")
    __main__.evaluate_set(["own.safetensors", *images, "--num-eval", "1", *SMOKE, "--out", "one"])
    page = Path("one/report.html")
    tested = parsed(page, "python -m condense evaluate ", monkeypatch)
    (wanted,) = parsed(page, "python -m nas.search ", monkeypatch)
    assert len(tested) == 3
    assert {settings.dataset for settings in (*tested, wanted)} == {str(tmp_path / "my photos")}
    given = {str(tmp_path / "own.safetensors")}
    assert {str(settings.set) for settings in tested} == {wanted.proxy} == given
    assert not any("In the folder" in line for line, _ in headed_code(page))


def test_of_a_set_that_is_tested_on_other_images(capsys: pytest.CaptureFixture[str]) -> None:
    """Also if these have the same name."""
    digits = load("digits")
    for folder, x_train in (("a", digits.x_train), ("b", 255 - digits.x_train)):
        Path(folder).mkdir()
        arrays = {"x_train": x_train, "y_train": digits.y_train}
        np.savez(f"{folder}/own.npz", **arrays, x_test=digits.x_test, y_test=digits.y_test)
    condense(load("a/own.npz"), "random", ipc=1).save("own.safetensors")
    for dataset, told in (
        ("a/own.npz", ""),
        ("b/own.npz", ", tested on own"),
        ("digits", ", tested on digits"),
    ):
        out = f"on-{Path(dataset).parts[0]}"
        flags = ["--dataset", dataset, "--num-eval", "1", *SMOKE, "--out", out]
        __main__.evaluate_set(["own.safetensors", *flags])
        title = f"own, random, 2 per class in the bytes of 1{told}"
        assert capsys.readouterr().out.startswith(f"{title}: ")
        page = Path(out, "report.html")
        assert f"<h1>{title}</h1>" in page.read_text(encoding="utf-8")
        summary = json.loads(page.with_name("summary.json").read_bytes())
        assert (summary["dataset"], summary["tested_on"]) == ("own", told[12:] or "own")


def test_of_images_that_are_wider_than_high(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search leaves them as they are, if its size is that of the longer side."""
    digits = load("digits")
    names = ("x_train", "x_test")
    wide = {name: F.pad(getattr(digits, name), (2, 2)) for name in names}
    np.savez("own.npz", y_train=digits.y_train, y_test=digits.y_test, **wide)
    flags = ["--dataset", "own.npz", "--method", "random", "--ipc", "1", "--storage", "pixels"]
    __main__.run([*flags, *SMOKE, "--evaluation.num-eval", "1", "--out", "made"])
    (wanted,) = parsed(Path("made/report.html"), "python -m nas.search ", monkeypatch)
    assert wanted.image_size == 12


def test_of_a_set_of_the_zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, also when the run was resumed."""
    (tmp_path / "zoo").mkdir()
    monkeypatch.setattr(zoo, "HERE", tmp_path / "zoo")
    made = condense(load("digits"), "random", ipc=2)
    made.save(tmp_path / "zoo" / "digits-random-2.safetensors")
    __main__.evaluate_set(["digits-random-2", "--num-eval", "1", *SMOKE, "--out", "one"])
    page = Path("one/report.html")
    before = page.read_bytes()
    Path("one/summary.json").unlink()
    __main__.evaluate_set(["--resume", "one", "--quiet"])
    assert page.read_bytes() == before
    for settings in parsed(page, "python -m condense e", monkeypatch):
        assert str(settings.set) == "digits-random-2"
    *_, other = parsed(page, "python -m condense evaluate ", monkeypatch)
    assert other.evaluation.network.architecture == "mlp", "8×8 is too small for ResNet-18"
    found: dict[str, Any] = {}
    (snippet,) = [block for block in code(page) if block.startswith("from condense import")]
    exec(snippet, found)
    assert torch.equal(found["small"].images, made.images)
    (settings,) = parsed(page, "python -m nas.search ", monkeypatch)
    assert settings.proxy == "digits-random-2"
    searched(page, "search")


def test_of_a_file_of_another_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what can read it."""
    made = condense(load("digits"), "random", ipc=2)
    torch.save({"images": made.images, "labels": made.labels}, "own set.pt")
    tests = ("own set.pt", "--dataset", "digits", "--num-eval", "1", *SMOKE)
    __main__.evaluate_set([*tests, "--out", "one"])
    page = Path("one/report.html")
    assert not any(block.startswith("from condense import") for block in code(page))
    assert commands(page, "python -m condense export") == []
    tested = parsed(page, "python -m condense evaluate ", monkeypatch)
    assert {(settings.set.name, settings.dataset) for settings in tested} == {
        ("own set.pt", "digits")
    }
    searched(page, "search")


def test_of_a_herded_set_no_herded_baseline_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--method", "herding", "--ipc", "1", "--evaluation.num-eval", "1", *SMOKE[:-2])
    for compare, offered in (("random", 0), ("none", 1)):
        __main__.run(["--dataset", "digits", *flags, "--compare", compare, "--out", compare])
        page = Path(compare) / "report.html"
        words = page.read_text(encoding="utf-8")
        assert words.count("--compare both adds random images.") == offered
        assert "herded images" not in words
        tested = parsed(page, "python -m condense evaluate ", monkeypatch)
        assert [settings.compare for settings in tested].count("both") == offered


def test_of_a_merged_set() -> None:
    """It has no method, and its images are those of `--dataset`."""
    digits = load("digits")
    halves = [digits.with_classes(classes) for classes in ([*range(5)], [*range(5, 10)])]
    merged = CondensedSet.merge([condense(half, "random", ipc=1) for half in halves])
    merged.save("merged.safetensors")
    flags = ["--dataset", "digits", "--num-eval", "1", *SMOKE]
    __main__.evaluate_set(["merged.safetensors", *flags, "--out", "one"])
    assert "digits, merged, " in Path("one/report.html").read_text(encoding="utf-8")
    assert json.loads(Path("one/summary.json").read_bytes())["dataset"] == "digits"
