from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics
from avalanche.training.plugins import (
    EvaluationPlugin,
    GDumbPlugin,
    ReplayPlugin,
    SupervisedPlugin,
)
from torch import nn

from condense import UserError
from continual import HerdingBuffer, RandomBuffer, make_benchmark
from continual.losses import (
    distillation,
)
from continual.report import forgetting
from continual.settings import ContinualConfig
from tests.helpers.tiny_streams import TINY_EEIL, Watch, tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")


@pytest.mark.parametrize("er_ace", [False, True])
def test_new_samples_compete_with_new_classes_alone_in_stage_1(er_ace: bool) -> None:
    class Slopes(SupervisedPlugin):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.pushed: dict[str, list[bool]] = {}

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            strategy.mb_output.retain_grad()

        def after_backward(self, strategy: Any, **kwargs: Any) -> None:
            new = strategy.mb_y >= 10
            if strategy.mb_output.shape[1] > 10:
                slopes = strategy.mb_output.grad
                seen = self.pushed.setdefault(strategy.stage.name, [])
                seen.append(bool((slopes[new][:, :10] != 0).any()))
                assert (slopes[~new] != 0).all()

    slopes = Slopes()
    settings = replace(TINY_EEIL, er_ace=er_ace, batch_size_mem=8)
    strategy = tiny_eeil("class", config=settings, distill=False, plugins=[slopes])
    strategy.train(make_benchmark(tasks()[:2], "class").train_stream, eval_streams=[])
    assert set(slopes.pushed["main"]) == {not er_ace}
    assert set(slopes.pushed["finetune"]) == {True}


@pytest.mark.parametrize("head", ["domain", "task"])
def test_shared_labels_are_never_old_or_new(head: str) -> None:
    with pytest.raises(UserError, match="er_ace needs a network with heads of kind class"):
        tiny_eeil(head, config=replace(TINY_EEIL, er_ace=True))


def test_arguments_of_another_class_are_refused() -> None:
    with pytest.raises(UserError, match="model must be a MultiHead, not a Linear"):
        tiny_eeil(model=nn.Linear(2, 2))
    with pytest.raises(UserError, match="memory must be an ExemplarsBuffer, not a NoneType"):
        tiny_eeil(memory=None)


@pytest.mark.parametrize(
    "plugin", [ReplayPlugin(20, storage_policy=RandomBuffer(20)), GDumbPlugin(20)]
)
def test_plugins_that_make_the_batches_are_refused(plugin: SupervisedPlugin) -> None:
    """Without a word its own replay would be off."""
    name = type(plugin).__name__
    with pytest.raises(UserError, match=f"{name} would replace the batches of EEIL"):
        tiny_eeil(plugins=[plugin])


def test_settings_of_another_class_are_refused() -> None:
    with pytest.raises(UserError, match="config must be an EEILConfig, not a ContinualConfig"):
        tiny_eeil(config=ContinualConfig())


def test_a_single_new_class_is_learnt_with_er_ace_too() -> None:
    """Over that class alone the cross-entropy would be 0, whatever the images are."""
    losses: list[float] = []

    class Losses(SupervisedPlugin):  # type: ignore[misc]
        def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            losses.append(float(strategy.loss))
            assert all(pair[0].shape[1] > 1 for pair in taught(strategy))

    def taught(strategy: Any) -> list[Any]:
        pairs = (teacher.pairs(strategy.mb_x, strategy._logits) for teacher in strategy.teachers)
        return [pair for some in pairs for pair in some]

    parts = [tasks()[0].with_classes(labels) for labels in ([0, 1], [2], [3])]
    settings = replace(TINY_EEIL, er_ace=True, batch_size_mem=8)
    strategy = tiny_eeil("class", config=settings, plugins=[Losses()])
    for experience in make_benchmark(parts, "class").train_stream:
        losses.clear()
        strategy.train(experience, eval_streams=[])
        assert min(losses) > 1e-3


def test_the_loss_is_of_the_augmented_batch_for_student_and_teachers() -> None:
    class Recompute(SupervisedPlugin):  # type: ignore[misc]
        checked = 0

        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            self.raw = strategy.mb_x

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            with torch.no_grad():
                heads = strategy.model.logits(strategy.mb_x)
                expected = nn.functional.cross_entropy(torch.cat(heads, 1), strategy.mb_y)
                for teacher in strategy.teachers:
                    for head in teacher.heads:
                        taught = teacher.model.logits(strategy.mb_x)[head]
                        expected = expected + distillation(heads[head], taught, 2.0)
            assert not torch.equal(self.raw, strategy.mb_x)
            torch.testing.assert_close(strategy.loss[0], expected)
            self.checked += len(strategy.teachers)

    recompute = Recompute()
    strategy = tiny_eeil("class", plugins=[recompute])
    strategy.train(make_benchmark(tasks(), "class").train_stream, eval_streams=[])
    # Stage 1 has 6 updates and one teacher; stage 2 has 3 epochs of 2 batches and two teachers.
    assert recompute.checked == 2 * (6 + 3 * 2 * 2)


def test_each_image_of_a_batch_is_augmented_by_numbers_of_its_own() -> None:
    class Alike(SupervisedPlugin):  # type: ignore[misc]
        def before_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
            strategy.mbatch[0] = strategy.mb_x[:1].expand_as(strategy.mb_x)

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            seen.append(len(strategy.mb_x.unique(dim=0)) == len(strategy.mb_x))

    seen: list[bool] = []
    strategy = tiny_eeil(plugins=[Alike()], augmentation=("color",))
    strategy.train(make_benchmark(tasks()[:1]).train_stream, eval_streams=[])
    assert seen == [True] * 6


@pytest.mark.parametrize("switch", ["noise", "augment"])
def test_switches_change_what_is_learnt(switch: str) -> None:
    weights = []
    for config in (TINY_EEIL, replace(TINY_EEIL, **{switch: False})):
        strategy = tiny_eeil(config=config)
        strategy.train(make_benchmark(tasks()[:1]).train_stream, eval_streams=[])
        weights.append(torch.cat([p.detach().flatten() for p in strategy.model.parameters()]))
    assert not torch.equal(*weights)


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_every_head_learns_and_agrees_with_avalanches_forgetting(head: str) -> None:
    metrics = EvaluationPlugin(accuracy_metrics(experience=True), forgetting_metrics(stream=True))
    longer = replace(TINY_EEIL, epochs_first=12, steps_per_epoch=None, lr=0.05)
    strategy = tiny_eeil(head, config=longer, evaluator=metrics)
    stream = make_benchmark(tasks(), head)
    matrix: list[list[float | None]] = []
    for count, experience in enumerate(stream.train_stream, 1):
        strategy.train(experience, eval_streams=[])
        results = strategy.eval(stream.test_stream[: 3 if head == "domain" else count])
        found = {int(k[-3:]): v for k, v in results.items() if k.startswith("Top1_Acc_Exp/")}
        matrix.append([found.get(task) for task in range(3)])
    assert matrix[0][0] is not None
    assert matrix[0][0] > 0.4
    assert forgetting(matrix) == pytest.approx(results["StreamForgetting/eval_phase/test_stream"])


def test_the_same_seed_learns_the_same_and_another_does_not() -> None:
    def weights(seed: int) -> torch.Tensor:
        strategy = tiny_eeil(seed=seed)
        strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
        return torch.cat([p.detach().flatten() for p in strategy.model.parameters()])

    torch.manual_seed(1)
    first = weights(0)
    torch.manual_seed(2)
    assert torch.equal(weights(0), first)
    assert not torch.equal(weights(1), first)


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_the_global_random_state_is_not_used(head: str) -> None:
    before = torch.get_rng_state()
    tiny_eeil(head).train(make_benchmark(tasks()[:2], head).train_stream, eval_streams=[])
    assert torch.equal(torch.get_rng_state(), before)


def test_herding_selects_again_after_fine_tuning() -> None:
    class Count(HerdingBuffer):
        calls = 0

        def post_adapt(self, agent_state: Any, exp: Any) -> None:
            self.calls += 1
            super().post_adapt(agent_state, exp)

    memory = Count(images_per_class=2)
    strategy = tiny_eeil(memory=memory)
    strategy.train(make_benchmark(tasks()[:2]).train_stream, eval_streams=[])
    assert memory.calls == 3
    assert len(memory.samples) == 40


@pytest.mark.parametrize("head", ["domain", "task", "class"])
@pytest.mark.parametrize("kind", [RandomBuffer, HerdingBuffer])
def test_logits_are_stored_with_their_images(head: str, kind: Any) -> None:
    memory = kind(images_per_class=2, store_logits=True)
    watch = Watch()
    strategy = tiny_eeil(head, memory=memory, plugins=[watch])
    first, second, _ = make_benchmark(tasks(), head).train_stream
    strategy.train(first, eval_streams=[])

    def said() -> torch.Tensor:
        return strategy.model(memory.samples.inputs(), memory.samples.tasks).detach().half()

    before = memory.samples.logits
    torch.testing.assert_close(before, said(), atol=1e-3, rtol=1e-2)
    strategy.train(second, eval_streams=[])
    assert torch.equal(memory.samples.logits[:20, :10], before)
    kept, now = memory.samples.logits, said()
    torch.testing.assert_close(kept[20:], now[20:], atol=1e-3, rtol=1e-2)
    assert (kept[:20, :10] != now[:20, :10]).any()
    assert kept[:20, 10:].isnan().all()
    assert memory.bytes == 40 * 3 * 16 * 16 + 2 * (20 * 10 + 20 * kept.shape[1])
    assert {epoch["stage"] for epoch in watch.epochs} == {"first", "main", "finetune"}


def test_stored_logits_are_distilled() -> None:
    def moved(store_logits: bool) -> float:
        memory = RandomBuffer(images_per_class=2, store_logits=store_logits)
        longer = replace(TINY_EEIL, epochs=12, batch_size_mem=16)
        strategy = tiny_eeil(memory=memory, config=longer, distill=False)
        first, second, _ = make_benchmark(tasks()).train_stream
        strategy.train(first, eval_streams=[])
        samples = memory.samples
        before = strategy.model(samples.inputs()).detach()
        strategy.train(second, eval_streams=[])
        return float((strategy.model(samples.inputs()).detach() - before).norm())

    assert moved(True) < 0.9 * moved(False)


def test_a_memory_of_avalanches_own_and_an_experience_without_tensors() -> None:
    from avalanche.benchmarks import benchmark_from_datasets
    from avalanche.benchmarks.scenarios.supervised import with_classes_timeline
    from avalanche.benchmarks.scenarios.task_aware import with_task_labels
    from avalanche.training.storage_policy import ClassBalancedBuffer

    ours = make_benchmark(tasks()[:2])
    theirs = benchmark_from_datasets(train=[e.dataset for e in ours.train_stream])
    theirs = with_classes_timeline(with_task_labels(theirs))
    strategy = tiny_eeil(memory=ClassBalancedBuffer(30))
    strategy.train(theirs.train_stream, eval_streams=[])
    assert len(strategy.memory.buffer) == 30
    data = tasks()[0]
    mine = tiny_eeil(memory=RandomBuffer(40))
    other = tiny_eeil(memory=RandomBuffer(40, mean=data.mean, std=data.std, hflip=False))
    mine.train(ours.train_stream[:1], eval_streams=[])
    other.train(theirs.train_stream[:1], eval_streams=[])
    for a, b in zip(mine.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert torch.equal(mine.memory.samples.images, other.memory.samples.images)


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_looking_on_while_it_learns_changes_nothing(head: str) -> None:
    """Before the first experience there is nothing to look at; after training all can be copied."""
    tests = make_benchmark(tasks()[:2], head).test_stream
    strategies = [tiny_eeil(head, eval_every=every) for every in (1, -1)]
    for strategy, seen in zip(strategies, ([tests], []), strict=True):
        strategy.train(make_benchmark(tasks()[:2], head).train_stream, eval_streams=seen)
    watched, alone = (copy.deepcopy(strategy).model.state_dict() for strategy in strategies)
    assert all(torch.equal(watched[name], alone[name]) for name in alone)


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_a_network_in_double_precision(head: str) -> None:
    strategy = tiny_eeil(head, memory=RandomBuffer(images_per_class=2, store_logits=True))
    strategy.model.double()
    strategy.train(make_benchmark(tasks(), head).train_stream[:2])
    assert {weight.dtype for weight in strategy.model.parameters()} == {torch.float64}


def test_a_diverging_training_is_one_line() -> None:
    strategy = tiny_eeil(config=replace(TINY_EEIL, lr=1e30), seed=3)
    with pytest.raises(UserError, match="diverged in task 1, seed 3: use a lower --lr"):
        strategy.train(make_benchmark(tasks()[:1]).train_stream, eval_streams=[])


def test_diverging_fine_tuning_names_its_own_learning_rate() -> None:
    strategy = tiny_eeil(config=replace(TINY_EEIL, finetune_lr=1e30))
    with pytest.raises(UserError, match=r"diverged in task 2, .*: use a lower --finetune-lr$"):
        strategy.train(make_benchmark(tasks()[:2]).train_stream)


@pytest.mark.parametrize("head", ["domain", "task", "class"])
def test_a_test_before_any_training_is_one_line(head: str) -> None:
    with pytest.raises(UserError, match="no heads before its first experience: train it first"):
        tiny_eeil(head).eval(make_benchmark(tasks()[:1], head).test_stream)
