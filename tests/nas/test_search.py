from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import optuna
import pandas
import pytest
from optuna.trial import FrozenTrial, TrialState
from PIL import Image

import nas.experiment
from condense import (
    Checkpoint,
    Checkpointer,
    CondensedSet,
    ImageData,
    Network,
    Progress,
    RunFolder,
    UserError,
    condense,
    load,
)
from condense.cli.common import Common
from condense.runs.io import read_json
from nas import SharedStudy, Space, TrialResult, compare, search, space_named
from nas.experiment import Experiment, load_images
from nas.settings import UNCONDENSED, Search
from nas.storage import database_storage
from tests.helpers.browser import check_page
from tests.helpers.processes import ROOT
from tests.helpers.tiny_searches import in_an_empty_folder, run, summary  # noqa: F401


def results(run: str) -> dict[str, Any]:
    """What must come out the same; so, less times and where the proxy was found."""
    apart = ("seconds", "from_cache")
    kept = {k: v for k, v in summary(run).items() if not any(word in k for word in apart)}
    table = pandas.read_csv(Path(run, "architectures.csv")).drop(columns="seconds")
    return {
        "summary": kept,
        "table": table.to_csv(),
        "history": Path(run, "history.csv").read_text(),
        "report": Path(run, "report.html").read_bytes(),
    }


def test_ground_truth_proxies_and_their_comparison(capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--space", "own_space:some_too_deep", "--n-trials", "7")
    run("--proxy", "whole", *own, "--out", "ground_truth")
    ground_truth = summary("ground_truth")
    assert ground_truth["spearman_all"] == pytest.approx(1)
    assert ground_truth["regret"] == 0
    assert (ground_truth["n_complete"], ground_truth["failed"]) == (6, 1), (
        "8×8 is too small for four poolings"
    )
    rows = pandas.read_csv("ground_truth/architectures.csv")
    assert rows["reason"].dropna().str.contains("too small").all()
    for proxy in ("random", "parameters"):
        run("--proxy", proxy, *own, "--ground-truth", "ground_truth", "--out", proxy)
        found = summary(proxy)
        wanted = {
            *("dataset", "proxy", "n_complete", "top_fraction", "spearman_top", "spearman_all"),
            *(
                "kendall_all",
                "best",
                "best_accuracy",
                "seconds_search",
                "seconds_ground_truth",
                "images",
            ),
            *("device", "preset"),
        }
        assert wanted <= found.keys()
        assert found["images"] == (100 if proxy == "random" else 0)
        ranked = pandas.read_csv(f"{proxy}/architectures.csv").dropna(subset="score")
        best = ranked.sort_values("score", ascending=False, kind="stable").iloc[0]
        assert (found["best"], found["best_accuracy"]) == (
            best["architecture"],
            best["ground_truth"],
        )
        assert found["regret"] == pytest.approx(rows["accuracy"].max() - best["ground_truth"])
        assert found["spearman_all_n"] == len(ranked)
        for picture in ("scatter", "ranking"):
            with Image.open(f"{proxy}/{picture}.png") as opened:
                assert min(opened.size) > 200
    assert found["spearman_all"] == found["baseline_parameters"]["spearman_all"]
    check_page(Path("random/report.html"), "by the number of parameters", "best of the ground")
    compare.run(["random", "parameters", "ground_truth", "--out", "both.png"])
    printed = capsys.readouterr().out
    assert "  browse the study: optuna-dashboard random/study.log" in printed
    assert "\n  random/report.html\n" in printed
    table = printed[printed.index("\nproxy ") + 1 :].splitlines()
    assert [line.split()[0] for line in table[1:4]] == ["random", "parameters", "whole"]
    assert found["best"] in table[2]
    with Image.open("both.png") as opened:
        assert opened.size[0] > 3 * opened.size[1]


def test_a_run_goes_on_from_any_moment_and_gives_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is on the disk at some moment is what a kill -9 at that moment would leave."""
    seen: list[int] = []
    show = Progress.report

    def report(self: Progress, done: int, total: int, **metrics: float) -> None:
        seen.append(done)
        if len(seen) in (1, 4):
            shutil.copytree("run", f"moment-{len(seen)}")
        show(self, done, total, **metrics)

    monkeypatch.setattr(Progress, "report", report)
    train, trained = Experiment.train, []

    def watched(self: Experiment, study: SharedStudy, trial: FrozenTrial) -> TrialResult:
        trained.append(study.index(trial))
        if len(trained) == 3 and not Path("amid").exists():
            shutil.copytree("run", "amid")
        return train(self, study, trial)

    monkeypatch.setattr(Experiment, "train", watched)
    run("--space", "own_space:quick", "--proxy", "dsa", "--n-trials", "6", "--out", "run")
    expected, everything = results("run"), list(trained)
    assert len(set(everything)) == 6
    assert len(list(Path("cache").glob("*.safetensors"))) == 1
    assert not summary("run")["proxy_from_cache"]
    for moment in ("moment-1", "moment-4", "amid"):
        trained.clear()
        search.run(["--resume", moment, "--quiet"])
        assert results(moment) == expected
        if moment == "amid":
            assert trained == everything[2:]
        if moment == "moment-4":
            assert len(trained) < 6
            assert set(trained) < set(everything)
    with pytest.raises(UserError, match="is finished"):
        search.run(["--resume", "run", "--quiet"])


def test_pruning_saves_steps_and_the_timeout_ends_the_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = ("--space", "own_space:quick", "--proxy", "early-stopping", "--n-trials", "12")
    longer = ("--training.steps", "16")
    run(*own, *longer, "--prune", "--out", "pruned")
    found = summary("pruned")
    assert found["pruned"] + found["n_complete"] == 12
    assert found["pruned"] >= 4
    assert 0.2 < found["steps_saved"] < 0.9
    assert compare.read(Path("pruned")).name == "early-stopping, pruned"
    run(*own, "--timeout", "0.012", "--out", "brief")
    found = summary("brief")
    assert 1 <= found["n_complete"] < 12
    assert found["n_remaining"] == 12 - found["n_complete"]
    assert "is used up" not in capsys.readouterr().err
    search.run(["--resume", "brief", "--quiet"])
    said = "note: the --timeout of 0.012 s is used up, so nothing is trained: give a larger one"
    assert said in capsys.readouterr().err
    assert summary("brief")["n_remaining"] == found["n_remaining"]
    run(*own, "--out", "whole")
    more = ("--timeout", "540", "--workers", "1", "--quiet")
    search.run(["--resume", "brief", *more])
    assert results("brief") == results("whole")


def test_two_machines_share_a_database() -> None:
    """The second finds everything done, and trains nothing."""
    own = ("--space", "own_space:quick", "--proxy", "early-stopping", "--n-trials", "4")
    storage = ("--storage", "sqlite:///study.db")
    run(*own, *storage, "--out", "one")
    run(*own, *storage, "--out", "two")
    first, second = (pandas.read_csv(f"{each}/architectures.csv") for each in ("one", "two"))
    assert first.equals(second), "to the very seconds"
    assert not Path("one/study.log").exists()


def test_a_database_and_a_space_are_found_again_from_another_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = ("--space", "own_space.py:quick", "--proxy", "early-stopping", "--n-trials", "3")
    run(*own, "--storage", "sqlite:///study.db", "--timeout", "0.001", "--out", "run")
    assert summary("run")["n_remaining"] == 2
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    search.run(["--resume", "../run", "--timeout", "600", "--quiet"])
    assert summary("../run")["n_complete"] == 3
    assert list(Path.cwd().iterdir()) == []


def test_the_space_of_the_documents_with_several_workers(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Costly networks first; the workers get the order, and the file is theirs too.

    What is said about the images is said by the main process alone.
    """
    digits = load("digits")
    numpy.savez("own.npz", x_train=digits.x_train[:400, 0], y_train=digits.y_train[:400])
    page = (ROOT / "docs/searches.md").read_text(encoding="utf-8")
    Path("my_nets.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    more = ("--proxy", "random", "--workers", "2", "--out", "run", "--dataset", "own.npz")
    run("--space", "my_nets.py:space", *more)
    assert capfd.readouterr().err.count("note: own: no test images") == 1
    rows = pandas.read_csv("run/architectures.csv")
    assert list(rows["architecture"]) == [8, 16, 32, 64]
    assert list(rows["status"]) == ["complete"] * 4


@pytest.mark.parametrize(
    ("shape", "fit", "expected"),
    [
        ((16, 32), "crop", 7),  # the middle
        ((32, 16), "crop", 7),
        ((16, 32), "resize", 0),  # whole
        ((24, 24), "crop", 0),
        ((12, 10), "crop", None),  # not larger
    ],
)
def test_the_image_size_is_that_of_both_sides(
    shape: tuple[int, int], fit: Any, expected: int | None
) -> None:
    pixels = numpy.zeros((20, *shape), numpy.uint8)
    height, width = shape
    pixels[:, height // 2 - 8 : height // 2 + 8, width // 2 - 8 : width // 2 + 8] = 7
    numpy.savez("own.npz", x_train=pixels, y_train=numpy.arange(20) % 2)
    data = load_images(Search(dataset="own.npz", image_size=16, common=Common(fit=fit)))
    assert data.shape == ((1, 16, 16) if expected is not None else (1, *shape))
    if expected is not None:
        assert data.x_train[0, 0, 0].min() == expected
        assert (data.source["size"], data.source["fit"]) == (16, fit)


def test_pruned_trials_have_a_value() -> None:
    own = ("--space", "own_space:quick", "--proxy", "early-stopping", "--n-trials", "8")
    longer = ("--training.steps", "16", "--storage", "sqlite:///study.db")
    run(*own, *longer, "--prune", "--out", "run")
    (study,) = optuna.get_all_study_names("sqlite:///study.db")
    trials = optuna.load_study(study_name=study, storage="sqlite:///study.db").trials
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert len(pruned) == summary("run")["pruned"] > 0
    for trial in pruned:
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]


def test_the_order_of_training() -> None:
    """Costly first only where that is worth something and nobody looks at a beginning."""
    settings = replace(search.defaults("smoke", "random"), dataset="digits", n_trials=None)
    data, space = load("digits"), Space([Network(depth=depth, width=8) for depth in (1, 3, 2)])

    def order(**changes: Any) -> list[int]:
        return list(Experiment(replace(settings, **changes), data, space, Path()).plan.order)

    stratified = space.order()
    assert order(workers=2) == order(storage="sqlite:///x.db") == [1, 2, 0] != stratified
    for changes in (
        {"workers": 1},
        {"workers": 2, "prune": True},
        {"workers": 2, "timeout": 9.0},
        {"workers": 2, "proxy": "parameters", "condensing": None},
    ):
        assert order(**changes) == stratified


def test_the_set_of_a_search_does_not_depend_on_the_time_or_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDENSE_CACHE", str(tmp_path / "cache"))
    data = load("digits")
    settings = replace(search.defaults("smoke", "random"), dataset="digits")
    made = []
    for number in range(2):  # the second is from the cache
        with RunFolder.create(f"run{number}", {}) as folder:
            search.keep_set(folder, settings, data, None)
            made.append(read_json(folder.path / search.PROXY))
    assert [kept["from_cache"] for kept in made] == [False, True]
    one, two = (Path(f"run{number}/condensed.safetensors").read_bytes() for number in range(2))
    assert one == two


def test_a_condensed_set_from_a_file() -> None:
    run("--space", "own_space:quick", "--proxy", "herding", "--n-trials", "3", "--out", "made")
    shutil.copy("made/condensed.safetensors", "mine.safetensors")
    run(
        "--space",
        "own_space:quick",
        "--proxy",
        "mine.safetensors",
        "--n-trials",
        "3",
        "--out",
        "its",
    )
    its = CondensedSet.load("its/condensed.safetensors")
    assert its.images_per_class == 10
    assert summary("its")["best"] == summary("made")["best"]


def test_no_two_studies_that_differ_have_one_name() -> None:
    """Else a database would give one's results as the other's."""
    data = load("digits")
    settings = replace(search.defaults("smoke", "random"), dataset="digits", n_trials=3)
    training, condensing = settings.training, settings.condensing
    made = condense(data, "random", ipc=2)
    made.save("one.safetensors")
    replace(made, labels=made.labels.roll(2)).save("two.safetensors")
    replace(made, mean=(0.25,)).save("three.safetensors")

    def name(settings: Search, data: ImageData = data) -> str:
        folder = Path("of", settings.proxy)
        if settings.proxy not in UNCONDENSED:
            folder.mkdir(parents=True, exist_ok=True)
            of = settings.proxy if "." in settings.proxy else "one.safetensors"
            shutil.copy(of, folder / "condensed.safetensors")
        return Experiment(settings, data, space_named("own_space:quick"), folder)._name()

    files = [f"{number}.safetensors" for number in ("one", "two", "three")]
    different = [
        settings,
        replace(settings, training=replace(training, lr=0.5)),
        replace(settings, condensing=replace(condensing, ipc=2)),
        replace(settings, prune=True),
        replace(settings, common=replace(settings.common, seed=1)),
        *(replace(settings, proxy=file, condensing=None) for file in files),
        *(replace(settings, proxy=proxy, condensing=None) for proxy in UNCONDENSED),
    ]
    names = [name(each) for each in different]
    names += [name(settings, data.resized(6, 1))]
    assert len(set(names)) == len(names)
    alike = (replace(settings, workers=3), replace(settings, timeout=1.0))
    assert {name(each) for each in alike} == {name(settings)}


def test_a_set_that_is_condensed_otherwise_is_another_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = load("digits")
    settings = replace(search.defaults("smoke", "random"), dataset="digits", n_trials=3)
    whole = replace(settings, proxy="whole", condensing=None)

    def names() -> list[str]:
        space = space_named("own_space:quick")
        return [Experiment(each, data, space, Path())._name() for each in (settings, whole)]

    monkeypatch.setattr(Experiment, "proxy", SimpleNamespace(draws="proxy"))
    before = names()
    monkeypatch.setattr(nas.experiment, "ALGORITHM", nas.experiment.ALGORITHM + 1)
    after = names()
    assert after[0] != before[0]
    assert after[1] == before[1], "nothing is condensed"


def test_clocks_that_differ_lose_and_double_nothing() -> None:
    told: list[dict[str, float]] = []

    class Kept(Checkpointer):
        def report(self, done: int, total: int, **metrics: float) -> None:
            told.append({"done": done, **metrics})

        def save(self, checkpoint: Checkpoint) -> None:
            pass

    class Study:
        def known(self) -> dict[int, TrialResult]:
            return found

    reporter = search.Reporter(Study(), Kept(), 3, ())  # type: ignore[arg-type]
    found = {5: TrialResult(1, 0.5)}
    reporter()
    found = {7: TrialResult(1, 0.25), 5: TrialResult(1, 0.5), 6: TrialResult(1, 0.75)}
    reporter()
    assert told == [
        {"done": 1, "index": 5, "score": 0.5, "best": 0.5},
        {"done": 2, "index": 7, "score": 0.25, "best": 0.5},
        {"done": 3, "index": 6, "score": 0.75, "best": 0.75},
    ]


def test_a_password_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("nas.storage.database_storage", opened.append)
    monkeypatch.setattr("nas.study.database_storage", lambda *_: database_storage("sqlite:///s.db"))
    url = "postgresql://me:secret@host/study?sslpassword=secret&user=me"
    run("--space", "own_space:quick", "--proxy", "random", "--n-trials", "2", "--storage", url,
        "--out", "run")  # fmt: skip
    assert opened == [url]
    config = Path("run/config.json").read_text()
    assert "secret" not in config
    assert json.loads(config)["settings"]["storage"] == "postgresql://me:…@host/study?…"
    with pytest.raises(UserError, match="give --storage again"):
        database_storage(json.loads(config)["settings"]["storage"])
