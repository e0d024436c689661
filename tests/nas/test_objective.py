from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nas.experiment
import nas.objective
from condense import Evaluation, ImageData, Network, UserError, generator
from nas import (
    Space,
    Training,
    TrialResult,
    make_proxy,
)
from nas.cost import PER_NETWORK, cost
from nas.objective import (
    count_parameters,
    schedule_of,
    train_architecture,
    with_test_images,
)
from tests.helpers.tiny_space import BRIEF, SPACE


def whole(data: ImageData, training: Training = BRIEF) -> TrialResult:
    return train_architecture(
        SPACE, 0, make_proxy("whole", data, None, training, 0), data, training, 0
    )


def test_an_architecture_learns_and_the_seed_decides(data: ImageData) -> None:
    found, again = whole(data), whole(data)
    assert found.score is not None
    assert found.score > 0.6
    assert (found.score, found.steps) == (again.score, 80)
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    assert train_architecture(SPACE, 2, proxy, data, BRIEF, 0).parameters != found.parameters


def test_several_networks_are_averaged(data: ImageData) -> None:
    few = Training(steps=6, batch_size=30, networks=2)
    scores = []
    test = nas.objective.test_accuracy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            nas.objective, "test_accuracy", lambda *a: scores.append(test(*a)) or scores[-1]
        )
        found = whole(data, few)
    assert len(scores) == 2
    assert found.score == pytest.approx(sum(scores) / 2)
    assert found.steps == 12


class Masked(nn.Module):
    """A buffer that is not finite, as an attention mask, and a state that is no tensor."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([-torch.inf, 0.0]))
        self.linear = nn.Linear(inputs, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.linear(images.flatten(1))
        return logits

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 1}

    def set_extra_state(self, state: object) -> None:
        pass


def test_buffers_may_be_infinite(data: ImageData) -> None:
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    space = Space(["masked"], build=lambda n, shape, classes: Masked(64, classes))
    assert train_architecture(space, 0, proxy, data, BRIEF, 0).score is not None


def test_equal_numbers_of_correct_images_are_equal_scores(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = replace(data, x_test=data.x_test[:10], y_test=data.y_test[:10])
    training = replace(BRIEF, networks=3)
    proxy = make_proxy("whole", data, None, training, 0)
    scores = set()
    for accuracies in ((0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.2, 0.2)):
        given = iter(accuracies)
        monkeypatch.setattr(nas.objective, "test_accuracy", lambda *_: next(given))  # noqa: B023
        scores.add(train_architecture(SPACE, 0, proxy, data, training, 0).score)
    assert scores == {0.2}


def test_the_curve_is_watched_and_may_stop_it(data: ImageData) -> None:
    training = Training(steps=16, batch_size=30, networks=2)
    proxy = make_proxy("whole", data, None, training, 0)
    space = Space([Network(depth=1, width=8, norm="batch")])  # another network when it is tested
    seen: list[tuple[int, float]] = []

    def watch(steps: int, accuracy: float) -> bool:
        seen.append((steps, accuracy))
        return False

    watched = train_architecture(space, 0, proxy, data, training, 0, watch)
    assert [steps for steps, _ in seen] == [2, 4, 8]
    assert all(0 <= accuracy <= 1 for _, accuracy in seen)
    assert watched.score == train_architecture(space, 0, proxy, data, training, 0).score, (
        "only looked at"
    )
    stopped = train_architecture(space, 0, proxy, data, training, 0, lambda steps, _: steps == 4)
    assert (stopped.pruned, stopped.score, stopped.steps) == (True, None, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 2.5}, "epochs must be a whole number, not 2.5"),
        ({"epochs": "5"}, "epochs must be a whole number, not '5'"),
        ({"lr": "fast"}, "lr must be a number, not 'fast'"),
    ],
)
def test_training_settings_have_their_types(changes: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Training(**changes)


def test_training_settings_of_another_class_are_refused(data: ImageData) -> None:
    wrong: Any = Evaluation()
    with pytest.raises(UserError, match="training must be a Training, not an Evaluation"):
        make_proxy("whole", data, None, wrong, 0)
    with pytest.raises(UserError, match="training must be a Training, not an Evaluation"):
        train_architecture(SPACE, 0, make_proxy("parameters", data, None, BRIEF, 0), data, wrong, 0)


def test_schedules() -> None:
    assert schedule_of(Training(), 100).steps == 300
    assert schedule_of(Training(epochs=100), 50_000).steps == 50_000
    assert schedule_of(Training(steps=300), 50_000).steps == 300
    assert schedule_of(Training(), 100).milestones == (0.5,)
    changed = schedule_of(Training(lr=0.25, momentum=0.5, weight_decay=0.125, batch_size=7), 100)
    assert (changed.lr, changed.momentum, changed.weight_decay) == (0.25, 0.5, 0.125)
    assert changed.batch_size == 7


@pytest.mark.parametrize("hflip", [True, False])
def test_images_are_flipped_only_if_they_keep_their_class(data: ImageData, hflip: bool) -> None:
    seen = set()

    def augment(images: Tensor, strategy: tuple[str, ...], draws: torch.Generator) -> Tensor:
        seen.add(strategy)
        return images

    data, training = replace(data, hflip=hflip), Training(steps=2, batch_size=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas.objective, "augment_batch", augment)
        whole(data, training)
    (strategy,) = seen
    assert ("flip" in strategy) == hflip


def test_another_seed_has_other_weights_and_other_images(data: ImageData) -> None:
    training = Training(images=20, steps=2, networks=2)
    drawn: list[list[Tensor]] = []
    for seed in (0, 0, 1):
        proxy = make_proxy("whole", data, None, training, seed)
        assert proxy.images is not None
        weights = [proxy.images]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                nas.objective,
                "_train",
                lambda network, *_: weights.append(network.classifier.weight),  # noqa: B023
            )
            train_architecture(SPACE, 0, proxy, data, training, seed)
        drawn.append(weights)
    first, again, other = drawn
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    assert not torch.equal(first[1], first[2]), "each network has its own"


def test_a_proxy_and_the_ground_truth_have_different_random_streams(data: ImageData) -> None:
    """Early stopping is no prefix of the ground truth's own training."""
    names = ("whole", "early-stopping", "early-stopping")
    proxies = [make_proxy(name, data, None, BRIEF, 0) for name in names]
    weights = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas.objective, "_train", lambda network, *_: weights.append(network))
        for proxy in proxies:
            train_architecture(SPACE, 0, proxy, data, BRIEF, 0)
    ground_truth, first, again = (network.classifier.weight for network in weights)
    assert torch.equal(first, again)
    assert not torch.equal(ground_truth, first)


def test_networks_that_draw_while_they_are_trained_are_seeded(data: ImageData) -> None:
    """Whatever the process drew before, and however often its training was looked at."""

    class Drawing(nn.Module):
        """As dropout, but in tests too."""

        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(x)

    space = Space(
        ["a", "b"], lambda *_: nn.Sequential(nn.Flatten(), Drawing(), nn.Linear(64, 3)), "1"
    )
    training = Training(steps=16, batch_size=30, networks=2)
    proxy = make_proxy("whole", data, None, training, 0)
    weights: list[Tensor] = []
    accuracies: list[float | None] = []

    def kept(network: nn.Module) -> bool:
        weights.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nas.objective, "all_finite", kept)
        for before, watch in ((1, None), (2, None), (3, lambda *_: False)):
            torch.manual_seed(before)
            state = torch.get_rng_state()
            found = train_architecture(space, 0, proxy, data, training, 0, watch)
            accuracies.append(found.score)
            assert torch.equal(torch.get_rng_state(), state), "nobody else is disturbed"
    (one, other), *again = zip(weights[::2], weights[1::2], strict=True)
    for pair in again:
        assert torch.equal(pair[0], one)
        assert torch.equal(pair[1], other)
    assert accuracies == [accuracies[0]] * 3


def test_counting_takes_no_memory(data: ImageData, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of this one would take six gigabytes, whether or not so many are free now."""
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: None)
    space = Space([Network(depth=2, width=13_000)])
    assert count_parameters(space, 0, data) > 1.5 * 10**9


def test_test_images_are_the_same_for_all(data: ImageData) -> None:
    one, other = with_test_images(data, 9), with_test_images(data, 9)
    assert len(one.x_test) == 9
    assert torch.equal(one.x_test, other.x_test)
    assert with_test_images(data, None) is data
    assert with_test_images(data, 1000) is data


def test_an_architecture_is_tested_on_as_many_images_as_asked(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def count(_: nn.Module, part: ImageData) -> float:
        seen.append(len(part.x_test))
        return 0.5

    monkeypatch.setattr(nas.objective, "test_accuracy", count)
    whole(data, replace(BRIEF, test_images=9))
    assert seen == [9]


def lazy(width: int, shape: tuple[int, int, int], classes: int) -> nn.Module:
    convolutions = nn.Sequential(nn.LazyConv2d(width, 3), nn.ReLU(), nn.Dropout(0.1))
    return nn.Sequential(convolutions, nn.Flatten(), nn.LazyLinear(classes))


def test_lazy_layers_have_their_weights_before_the_training(data: ImageData) -> None:
    space = Space([4], build=lazy)
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    found = [train_architecture(space, 0, proxy, data, BRIEF, 0) for _ in range(2)]
    assert found[0].reason is None
    assert found[0].score == found[1].score
    (channels, height, width), classes = data.shape, data.classes
    convolution = 4 * (9 * channels + 1)
    assert found[0].parameters == convolution + (4 * (height - 2) * (width - 2) + 1) * classes
    assert cost(space, 0, data) > PER_NETWORK
    network = nas.objective.make_network(space, 0, data, generator(0))
    assert all(module.training for module in network.modules())


def scripted(hidden: int, shape: tuple[int, int, int], classes: int) -> nn.Module:
    inputs = shape[0] * shape[1] * shape[2]
    network = nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.Linear(hidden, classes))
    script: nn.Module = torch.jit.script(network)
    return script


def test_networks_of_torchscript_are_tested(data: ImageData) -> None:
    """They have no forward hooks."""
    proxy = make_proxy("whole", data, None, BRIEF, 0)
    found = train_architecture(Space([8], build=scripted), 0, proxy, data, BRIEF, 0)
    assert found.reason is None
    assert found.score is not None
