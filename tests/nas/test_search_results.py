"""The table and the summary that a search leaves, and the regret in it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest

from condense import Checkpoint, Checkpointer, RunFolder, UserError
from condense.runs.run_dir import Interrupted
from nas import TrialResult, compare, search
from nas.experiment import Experiment
from tests.helpers.tiny_searches import QUICK, in_an_empty_folder, run, summary  # noqa: F401


def test_a_resumed_search_that_is_stopped_leaves_no_mixture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its table is of the session of its summary, or the run is not compared."""
    own = ("--space", "own_space:quick", "--proxy", "random", "--n-trials", "3")
    resume = ("--resume", "run", "--timeout", "None", "--quiet")
    run(*own, "--timeout", "0.001", "--out", "run")
    brief = compare.read(Path("run"))
    assert len(brief.table.rows) == 1

    def stop(*_: object) -> Any:
        raise KeyboardInterrupt

    def resume_and_stop(of: object, at: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(of, at, stop)
            with pytest.raises(Interrupted):
                search.run([*resume])

    resume_and_stop(search, "retrain")
    assert compare.read(Path("run")) == brief
    resume_and_stop(RunFolder, "write_summary")
    with pytest.raises(UserError, match=r"finish it with python -m nas.search --resume run$"):
        compare.read(Path("run"))
    search.run([*resume])
    assert len(compare.read(Path("run")).table.rows) == 3


def test_the_time_of_a_proxy_has_no_import_of_optimizers(monkeypatch: pytest.MonkeyPatch) -> None:
    order = []
    checkpointer = RunFolder.checkpointer

    def timed(*args: Any, **kwargs: Any) -> Any:
        order.append("clock")
        return checkpointer(*args, **kwargs)

    monkeypatch.setattr("nas.objective.import_optimizers", lambda: order.append("import"))
    monkeypatch.setattr(RunFolder, "checkpointer", timed)
    run("--space", "own_space:quick", "--proxy", "random", "--n-trials", "1", "--out", "run")
    assert order[:2] == ["import", "clock"]


def test_the_table_is_there_before_the_retraining(monkeypatch: pytest.MonkeyPatch) -> None:
    def retrained(*_: object) -> TrialResult:
        assert len(pandas.read_csv("run/architectures.csv")) == 2
        return TrialResult(5, 0.5, 8)

    monkeypatch.setattr(Experiment, "retrain", retrained)
    run("--space", "own_space:quick", "--proxy", "random", "--n-trials", "2", "--out", "run")
    assert summary("run")["best_accuracy"] == 0.5


def test_the_steps_of_each_network_decide_about_the_regret(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The ground truth has three networks of 8 steps, and not the selected architecture."""
    known = ("--space", "own_space:quick", "--n-trials", "1")
    run(*known, "--proxy", "whole", "--training.networks", "3", "--out", "whole")
    assert summary("whole")["ground_truth"] == {"architectures": 1, "steps": 8}
    more = ("--space", "own_space:quick", "--proxy", "parameters", "--ground-truth", "whole")
    for steps, networks, comparable in ((8, 1, True), (24, 1, False), (8, 2, True)):
        retraining = ("--retraining.steps", f"{steps}", "--retraining.networks", f"{networks}")
        name = f"run-{steps}-{networks}"
        run(*more, *retraining, "--out", name)
        found = summary(name)
        assert found["retrained_steps"] == steps
        assert (found["regret"] is not None) == comparable
        said = " % after 24 steps per network (no regret: the ground truth has 8)"
        assert (said in capsys.readouterr().out) != comparable
        (compared,) = compare.with_common_ground_truth([compare.read(Path(name))], Path("whole"))
        assert compared.summary["regret"] == found["regret"]


def test_a_ground_truth_that_was_moved_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ("--space", "own_space:quick", "--n-trials", "3")
    run(*own, "--proxy", "whole", "--out", "whole")
    to_compare = (*own, "--proxy", "parameters", "--ground-truth", "whole")
    run(*to_compare, "--out", "same")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_summary", stop)
        with pytest.raises(Interrupted):
            run(*to_compare, "--out", "run")
    Path("whole").rename("moved")
    with pytest.raises(UserError, match=r"give its new place with --ground-truth$"):
        search.run(["--resume", "run", "--quiet"])
    search.run(["--resume", "run", "--quiet", "--ground-truth", "moved"])
    assert summary("run")["spearman_all"] == summary("same")["spearman_all"]
    page = Path("run/report.html").read_text()
    assert str(Path("moved").absolute()) in page
    assert str(Path("whole").absolute()) not in page
    with pytest.raises(UserError, match=r"whole: there is no such file$"):
        run(*to_compare, "--out", "new")


@pytest.mark.parametrize(("stopped", "told"), [(None, [4, 5, 6]), (3, [4, 5])])
def test_new_results_are_saved_once_even_if_a_signal_comes_between_them(
    stopped: int | None, told: list[int]
) -> None:
    """A checkpoint with each row would copy all results of a large study for each of them."""
    saved: list[object] = []

    class Kept(Checkpointer):
        def report(self, done: int, total: int, **metrics: float) -> None:
            if done == stopped:
                raise KeyboardInterrupt

        def save(self, checkpoint: Checkpoint) -> None:
            saved.append(checkpoint.state["told"])

    study: Any = SimpleNamespace(known=lambda: dict.fromkeys((4, 5, 6), TrialResult(1, 0.5)))
    with pytest.raises(KeyboardInterrupt) if stopped else nullcontext():
        search.Reporter(study, Kept(), 3, ())()
    assert saved == [told]


def test_the_progress_is_shown_before_the_first_result(capsys: pytest.CaptureFixture[str]) -> None:
    loud = [flag for flag in QUICK if flag != "--quiet"]
    search.run([*loud, "--space", "own_space:quick", "--proxy", "parameters", "--n-trials", "2"])
    assert "searching:   0%|" in capsys.readouterr().err
