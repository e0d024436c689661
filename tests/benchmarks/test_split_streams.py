"""Avalanche's strategies beside ours: what each is given, and the table that goes on growing."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.training.plugins import SupervisedPlugin

from benchmarks.continual import baselines, split_streams
from benchmarks.continual.baselines import (
    BASELINES,
    Job,
    steps,
    train_baseline,
)
from benchmarks.continual.main_job import MEMORIES
from benchmarks.continual.split_streams import (
    BASELINE_LRS,
    GROUPS,
    NOTES,
    STRATEGIES,
    WHOLE,
    SplitStreams,
    config_of,
    kept,
    measure,
    table,
)
from benchmarks.rows import Row, read_rows
from condense import Progress, UserError, method_named
from condense.runs.io import read_json
from continual import RandomBuffer, make_benchmark
from continual.settings import EEILConfig
from tests.helpers.processes import ROOT
from tests.helpers.split_images import write_images
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil

CONDENSING = method_named("dsa").preset("smoke")
JOB = Job(tasks(), TINY_EEIL, images_per_class=2, seed=0, condensing=CONDENSING)
WITHOUT = replace(TINY_EEIL, steps_per_epoch=None, batch_size=16, epochs_first=3, finetune_epochs=0)


@pytest.mark.filterwarnings("ignore:No loggers specified")
@pytest.mark.parametrize(
    "settings",
    [TINY_EEIL, WITHOUT, replace(WITHOUT, batch_size_mem=4)],
    ids=["limited", "whole epochs", "a share for the memory"],
)
def test_steps_are_those_of_eeil(settings: EEILConfig) -> None:
    class Count(SupervisedPlugin):  # type: ignore[misc]
        made = 0

        def after_update(self, strategy: Any, **kwargs: Any) -> None:
            self.made += 1

    count, made = Count(), []
    memory = RandomBuffer(images_per_class=2)
    strategy = tiny_eeil("class", config=settings, memory=memory, plugins=[count])
    for experience in make_benchmark(tasks(), "class").train_stream:
        before = count.made
        strategy.train(experience, eval_streams=[])
        made.append(count.made - before)
    assert steps(replace(JOB, config=settings)) == made


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_has_its_memory_size_and_steps_and_is_reproducible(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, sizes = [0, 0, 0], set()

    def count(self: Any, strategy: Any, **kwargs: Any) -> None:
        made[strategy.experience.current_experience] += 1
        sizes.add(len(strategy.mb_x))
        original(self, strategy, **kwargs)

    original = baselines.EEILSchedule.after_update
    with monkeypatch.context() as patch:
        patch.setattr(baselines.EEILSchedule, "after_update", count)
        first = train_baseline(name, JOB)
    assert made == steps(JOB)
    assert max(sizes) <= TINY_EEIL.batch_size
    assert first.memory_images == JOB.memory == 60
    assert first.memory_bytes == 60 * 3 * 16 * 16
    assert [row.count(None) for row in first.matrix] == [2, 1, 0]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    assert replace(train_baseline(name, JOB), seconds=0) == replace(first, seconds=0)
    assert torch.equal(torch.get_rng_state(), state)
    assert train_baseline(name, replace(JOB, seed=1)).matrix != first.matrix


def test_a_baseline_learns() -> None:
    longer = replace(TINY_EEIL, epochs_first=30, epochs=20, steps_per_epoch=None)
    for name in BASELINES:
        config = replace(longer, lr=BASELINE_LRS.get(name, longer.lr))
        alone = replace(JOB, tasks=tasks()[:1], config=config, images_per_class=10)
        result = train_baseline(name, alone)
        assert result.matrix[0][0] is not None
        assert result.matrix[0][0] > 0.4, name


@pytest.fixture
def settings(tmp_path: Path) -> SplitStreams:
    write_images(tmp_path / "data", "fashionmnist", (28, 28))
    return SplitStreams(
        memory="gdumb",
        images_per_class=2,
        seeds=1,
        preset="smoke",
        device="cpu",
        data_root=tmp_path / "data",
        runs=tmp_path / "runs",
        results=tmp_path / "results" / "split.csv",
    )


def test_what_has_a_row_is_not_measured_again(
    settings: SplitStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[str, int]] = []
    theirs = split_streams._theirs

    def noted(settings: SplitStreams, found: Any, memory: str, seed: int) -> dict[str, Any]:
        measured.append((memory, seed))
        return theirs(settings, found, memory, seed)

    monkeypatch.setattr(split_streams, "_theirs", noted)
    images = measure(settings)
    (row,) = kept(settings, images)
    assert len(row["accuracies"].split()) == 5
    assert float(row["accuracies"].split()[-1]) == float(row["final_average"])
    assert (row["strategy"], row["memory_images"], row["memory_bytes"]) == ("GDumb", "20", "15680")
    for column in ("forgetting", "seconds", "device", "torch", "avalanche", "version", "date"):
        assert str(row[column])
    measure(settings)
    assert measured == [("gdumb", 0)]
    measure(replace(settings, seeds=2))
    assert measured == [("gdumb", 0), ("gdumb", 1)]
    assert settings.data_root is not None
    write_images(settings.data_root, "fashionmnist", (28, 28), per_class=3)
    assert measure(settings) != images
    assert measured[2:] == [("gdumb", 0)]
    with monkeypatch.context() as patch:
        patch.setitem(split_streams.BASELINE_LRS, "gdumb", 0.02)
        measure(settings)
        measure(settings)
    assert measured[3:] == [("gdumb", 0)], "another rate is another measurement"
    assert len(kept(settings, images)) == 2


def test_an_interrupted_run_of_ours_goes_on(
    settings: SplitStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings, memory="random")
    report, steps = Progress.report, []

    def stopping(self: Progress, done: int, total: int, **metrics: float) -> None:
        steps.append(done)
        report(self, done, total, **metrics)
        if len(steps) == 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "report", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure(settings)
    assert not settings.results.exists()
    (row,) = kept(settings, measure(settings))
    assert (row["strategy"], row["memory_images"], row["memory_bytes"]) == ("EEIL", "20", "15680")
    assert steps[8] > 1, "it has computed again"
    assert steps[-1] == 2 + 4 * 4


def test_herding_with_the_replay_settings_of_dsa(settings: SplitStreams) -> None:
    at = replace(settings, preset="cpu")
    assert config_of(at, "herding-er-ace") == config_of(at, "dsa") != config_of(at, "herding")
    assert config_of(at, "reservoir") == "lr=0.1"
    er_ace = replace(settings, memory="herding-er-ace", preset="cpu")
    flags = split_streams._flags(er_ace, "herding-er-ace")
    assert flags[:4] == ["--stream", "split-fashionmnist", "--memory", "herding"]
    (row,) = kept(settings, measure(replace(settings, memory="herding-er-ace")))
    used = read_json(next(settings.runs.glob("*herding-er-ace*")) / "config.json")["settings"]
    assert asdict(WHOLE).items() <= {**used, **used["eeil"]}.items()
    assert (row["memory"], row["strategy"]) == ("herding-er-ace", "EEIL")


def test_the_table_by_hand() -> None:
    def row(memory: str, accuracy: str, ipc: str = "10", **other: str) -> Row:
        about = {"stream": "split", "images_per_class": ipc, "strategy": "EEIL"}
        rest = {"final_average": accuracy, "forgetting": "0.125", "config": "", "images": ""}
        return {**about, "memory": memory, **rest, **other}

    rows = [row("dsa", "0.5", "20"), row("icarl", "0.5"), row("dsa", "0.5"), row("dsa", "0.75")]
    rows += [row("dsa", "0.25", images="others"), row("dsa", "0.125", config="lr=2")]
    assert table(rows).splitlines()[2:] == [
        "| split | 10 | **DSA** | EEIL | 62.5 ± 17.7 | 12.5 ± 0.0 | 2 |",
        "| split | 10 | herding | EEIL | 50.0 | 12.5 | 1 |",
        "| split | 10 | **DSA** | EEIL | 25.0 | 12.5 | 1 |",
        "| split | 10 | **DSA** | EEIL | 12.5 | 12.5 | 1 |",
        "| split | 20 | **DSA** | EEIL | 50.0 | 12.5 | 1 |",
    ]


def test_names_are_those_of_the_strategies() -> None:
    assert GROUPS["theirs"] == tuple(BASELINES) == tuple(NOTES)
    assert SplitStreams(memory="ours").memories == (*MEMORIES, "herding-er-ace")
    assert SplitStreams().memories == tuple(STRATEGIES)
    with pytest.raises(UserError, match="unknown memory 'resevoir'; known: reservoir"):
        SplitStreams(memory="resevoir")


def test_the_command_as_a_user_runs_it(settings: SplitStreams, command: Any) -> None:
    flags = ["--preset", "smoke", "--memory", "reservoir", "--seeds", "1"]
    flags += ["--images-per-class", "2", "--results", str(settings.results)]
    here = {"PYTHONPATH": str(ROOT)}
    made = command("benchmarks.continual.split_streams", *flags, **here)
    assert made.stderr == ""
    assert "| split-fashionmnist | 2 | reservoir | Naive |" in made.stdout
    assert "reservoir: Naive with ReplayPlugin" in made.stdout
    assert len(read_rows(settings.results)) == 1
    wrong = command("benchmarks.continual.split_streams", "--seeds", "0", code=2, **here)
    assert wrong.stderr == "seeds must be at least 1, not 0\n"
