"""What the report and the screen say about a search."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from condense import RunFolder
from nas import TrialResult, run_report, search
from nas.experiment import Experiment
from tests.helpers.command_lines import parse
from tests.helpers.pages import commands, headed_code
from tests.helpers.tiny_searches import QUICK, in_an_empty_folder, summary  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore:.* found in sys.modules")


def test_a_missing_dashboard_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_report, "find_spec", lambda name: None)
    install = 'pip install "condense-toolkit[dashboard]"'
    assert run_report.dashboard_missing() == f" (first: {install})"
    monkeypatch.setattr(run_report, "find_spec", lambda name: name)
    assert run_report.dashboard_missing() == ""


def test_the_next_searches_are_of_the_same_images_and_architectures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = ("--space", "own_space:quick", "--size", "12", "--fit", "resize", "--n-trials", "2")
    more = ("--image-size", "10", "--training.epochs", "1", "--condensing.ipc", "2")
    without = ("--retraining.networks", "0", "--condensing.network.width", "8")
    search.run([*QUICK, *own, *more, *without, "--proxy", "herding", "--out", "run"])
    lines = commands(Path("run/report.html"), "python -m nas.search ")
    whole, random = (parse(line, monkeypatch) for line in lines)
    assert (whole.proxy, random.proxy) == ("whole", "random")
    for found in (whole, random):
        assert (found.dataset, found.space, found.n_trials) == ("digits", "own_space:quick", 2)
        assert (found.common.preset, found.common.size) == ("smoke", 12)
        assert (found.common.fit, found.image_size) == ("resize", 10)
    assert (random.training.epochs, random.condensing.ipc) == (1, 2)
    assert random.retraining.networks == 0
    blocks = headed_code(Path("run/report.html"))
    assert {block.split()[0] for _, block in blocks} == {"import", "python", "optuna-dashboard"}
    for line, block in blocks:
        searches = block.startswith("python -m nas.search")
        place = "Where the command was run" if searches else "In the folder of this report"
        assert line.startswith(place), block


def test_a_failed_training_on_the_whole_set_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = TrialResult(5, steps=3, reason="out of memory: <a>")
    monkeypatch.setattr(Experiment, "retrain", lambda self, index: failed)
    own = ("--space", "own_space:quick", "--n-trials", "2", "--proxy", "parameters")
    search.run([*QUICK, *own, "--out", "run"])
    assert summary("run")["best_accuracy"] is None
    assert summary("run")["retrained_reason"] == failed.reason
    page = Path("run/report.html").read_text()
    assert "Its training on the whole set failed: out of memory: &lt;a&gt;" in page
    assert "(training failed: out of memory: <a>)" in capsys.readouterr().out
    search.run([*QUICK, *own, "--retraining.networks", "0", "--out", "without"])
    assert summary("without")["retrained_reason"] is None
    assert "It was not trained on the whole set." in Path("without/report.html").read_text()


def test_a_top_of_less_than_a_per_cent_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    own = ("--space", "own_space:quick", "--n-trials", "3", "--proxy", "whole")
    search.run([*QUICK, *own, "--top-fraction", "0.005", "--out", "run"])
    assert "Spearman, top 0.5 %" in capsys.readouterr().out
    assert "Spearman, top 0.5 %" in Path("run/report.html").read_text()


def test_a_finished_training_on_the_whole_set_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a kill -9 while the results are written."""
    retrain, retrained = Experiment.retrain, []
    write = run_report.write_report

    def counted(self: Experiment, index: int) -> TrialResult:
        retrained.append(index)
        return retrain(self, index)

    def killed(*arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Experiment, "retrain", counted)
    own = ("--space", "own_space:quick", "--n-trials", "2", "--proxy", "parameters")
    search.run([*QUICK, *own, "--out", "whole"])
    assert not Path("whole/retraining.safetensors").exists()
    monkeypatch.setattr(run_report, "write_report", killed)
    with pytest.raises(MemoryError):
        search.run([*QUICK, *own, "--out", "run"])
    monkeypatch.setattr(run_report, "write_report", write)
    search.run(["--resume", "run", "--quiet"])
    assert len(retrained) == 2
    assert not Path("run/retraining.safetensors").exists()
    assert Path("run/report.html").read_bytes() == Path("whole/report.html").read_bytes()
    same = ("best", "best_accuracy", "retrained_steps")
    assert [summary("run")[key] for key in same] == [summary("whole")[key] for key in same]


def test_a_finished_training_of_another_architecture_is_not_used() -> None:
    """The best one changes if a timeout has ended the search, which then goes on."""
    experiment: Any = SimpleNamespace(retrain=lambda index: TrialResult(index, 0.5))
    with RunFolder.create("run", {}) as folder:
        assert search.retrain(folder, experiment, 1) == TrialResult(1, 0.5)
        experiment.retrain = lambda index: TrialResult(index, 0.25)
        assert search.retrain(folder, experiment, 1).score == 0.5
        assert search.retrain(folder, experiment, 4).score == 0.25
