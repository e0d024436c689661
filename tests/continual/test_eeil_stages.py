"""The stages of EEIL: their networks, batches, random streams and ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import (
    EarlyStoppingPlugin,
    EvaluationPlugin,
    SupervisedPlugin,
)

from continual import EEIL, eeil, make_benchmark
from continual.losses import (
    noise_scale,
)
from tests.helpers.tiny_streams import TINY_EEIL, Watch, tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")


@pytest.mark.parametrize("head", ["task", "class"])
def test_stages_teachers_and_memory_of_each_experience(head: str) -> None:
    watch = Watch()
    strategy = tiny_eeil(head, plugins=[watch])
    stream = make_benchmark(tasks(), head).train_stream
    for count, experience in enumerate(stream, 1):
        strategy.train(experience, eval_streams=[])
        assert len(strategy.memory.samples) == 20 * count
    seen = [(e["stage"], e["teaches"], e["images"], e["remembered"]) for e in watch.epochs]
    assert seen == [
        *[("first", [], 120, 0)] * 2,
        *[("main", [[0]], 140, 20)] * 2,
        *[("finetune", [[0], [1]], 40, 40)] * 3,
        *[("main", [[0, 1]], 160, 40)] * 2,
        *[("finetune", [[0, 1], [2]], 60, 60)] * 3,
    ]
    assert [e["lr"] for e in watch.epochs[2:7]] == [0.1, 0.001, 0.01, 0.001, 0.0001]
    assert watch.epochs[2]["scale"] > watch.epochs[6]["scale"] == noise_scale(5)


def test_the_teacher_is_the_network_before_the_experience() -> None:
    class Grab(SupervisedPlugin):  # type: ignore[misc]
        def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
            self.teachers = list(strategy.teachers)

    grab = Grab()
    strategy = tiny_eeil("domain", plugins=[grab])
    first, second, _ = make_benchmark(tasks()).train_stream
    strategy.train(first, eval_streams=[])
    assert grab.teachers == []
    before = {name: value.clone() for name, value in strategy.model.state_dict().items()}
    strategy.train(second, eval_streams=[])
    (teacher,) = grab.teachers
    assert all(torch.equal(v, before[n]) for n, v in teacher.model.state_dict().items())
    assert any(not torch.equal(v, before[n]) for n, v in strategy.model.state_dict().items())


def test_each_stage_of_each_experience_has_its_own_random_stream() -> None:
    class Seeds(SupervisedPlugin):  # type: ignore[misc]
        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            number = strategy.experience.current_experience
            seen[number, strategy.stage.name] = strategy.dataloader.generator.initial_seed()

    seen: dict[tuple[int, str], int] = {}
    strategy = tiny_eeil(plugins=[Seeds()])
    strategy.train(make_benchmark(tasks()).train_stream, eval_streams=[])
    assert len(seen) == len({*seen.values()}) == 5


def test_without_distillation_there_is_no_teacher() -> None:
    watch = Watch()
    strategy = tiny_eeil(distill=False, plugins=[watch])
    strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
    assert {str(epoch["teaches"]) for epoch in watch.epochs} == {"[]"}


def test_noise_and_optimiser_are_those_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise of η / (1 + epoch)^γ on the summed gradient; stage 2 starts cold."""
    asked: list[tuple[str, int, float, int]] = []
    cold: dict[str, bool] = {}

    class Look(SupervisedPlugin):  # type: ignore[misc]
        def before_update(self, strategy: Any, **kwargs: Any) -> None:
            asked[-1] = (strategy.stage.name, len(strategy.mb_x), *asked[-1][2:])
            cold.setdefault(strategy.stage.name, not strategy.optimizer.state)
            (group,) = strategy.optimizer.param_groups
            assert (group["momentum"], group["weight_decay"]) == (0.75, 0.125)

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            asked.append(("", 0, 0.0, 0))

    def noted(parameters: Any, scale: float, batch: int, draws: Any) -> None:
        asked[-1] = (*asked[-1][:2], scale, batch)

    monkeypatch.setattr(eeil, "add_gradient_noise", noted)
    changed = {"momentum": 0.75, "weight_decay": 0.125, "noise_eta": 0.5, "noise_gamma": 0.25}
    strategy = tiny_eeil(config=replace(TINY_EEIL, **changed), plugins=[Look()])
    strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
    assert all(cold.values())
    assert cold.keys() == {"first", "main", "finetune"}
    assert all(batch == images > 1 for _, images, _, batch in asked)
    scales = {name: [s for n, _, s, _ in asked if n == name] for name in cold}
    expected = {"first": (1, 2), "main": (1, 2), "finetune": (3, 4, 5)}
    for name, epochs in expected.items():
        assert sorted(set(scales[name]), reverse=True) == [
            pytest.approx(0.5 / (1 + epoch) ** 0.25) for epoch in epochs
        ]


def test_each_stage_has_its_own_batches() -> None:
    class Look(SupervisedPlugin):  # type: ignore[misc]
        def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            loader = strategy.dataloader
            seen[strategy.stage.name] = (type(loader).__name__, len(loader))

    seen: dict[str, tuple[str, int]] = {}
    changed = {"batch_size": 8, "batch_size_mem": 4, "finetune_steps_per_epoch": 2}
    strategy = tiny_eeil(config=replace(TINY_EEIL, **changed), plugins=[Look()])
    strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
    batches, shared = "BatchLoader", "RehearsalLoader"
    assert seen == {"first": (batches, 3), "main": (shared, 3), "finetune": (batches, 2)}


def test_stopping_stage_1_early_leaves_stage_2() -> None:
    class Impatient(SupervisedPlugin):  # type: ignore[misc]
        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            seen.append(strategy.stage.name)
            if strategy.stage.name == "main":
                strategy.stop_training()

    seen: list[str] = []
    strategy = tiny_eeil(plugins=[Impatient()])
    strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
    assert seen == ["first"] * 2 + ["main"] + ["finetune"] * 3


def test_early_stopping_of_avalanche_leaves_stage_2() -> None:
    class Stages(SupervisedPlugin):  # type: ignore[misc]
        def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
            seen.append(strategy.stage.name)

    seen: list[str] = []
    # No accuracy is better by more than 1: the plugin stops as soon as it may.
    stopping = EarlyStoppingPlugin(1, "train_stream", margin=1.1)
    settings = replace(TINY_EEIL, epochs=4, finetune_epochs=4)
    strategy = tiny_eeil(
        config=settings,
        plugins=[stopping, Stages()],
        evaluator=EvaluationPlugin(accuracy_metrics(stream=True), loggers=[]),
        eval_every=1,
    )
    strategy.train(make_benchmark(tasks()[:2]).train_stream)
    assert seen == ["first", "first", "main", "finetune"]


@pytest.mark.parametrize("passes", ["another benchmark", "the same again"])
def test_a_second_pass_has_random_streams_of_its_own(passes: str) -> None:
    seeds: list[int] = []

    class Noted(EEIL):
        def _enter(self, stage: Any) -> None:
            super()._enter(stage)
            seeds.extend(draws.initial_seed() for draws in self._draws.values())

    strategy = tiny_eeil()
    strategy.__class__ = Noted
    first = make_benchmark(tasks()[:2])
    second = first if passes == "the same again" else make_benchmark(tasks()[1:])
    for benchmark in (first, second):
        for experience in benchmark.train_stream:
            strategy.train(experience)
    assert len(seeds) == len(set(seeds))
