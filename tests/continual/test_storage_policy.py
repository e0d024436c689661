from __future__ import annotations

import copy
import gc
import pickle
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.supervised import Naive

from condense import UserError, generator
from continual import RandomBuffer, make_benchmark
from continual.exemplars import Samples
from continual.groups import Group
from tests.helpers.buffers import BUFFERS, WHOLE, agent, counts, first
from tests.helpers.tiny_streams import tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")


def as_bytes(pixels: torch.Tensor) -> set[bytes]:
    levels = (pixels * 255).round()
    torch.testing.assert_close(pixels * 255, levels, atol=1e-3, rtol=0)
    return {image.numpy().tobytes() for image in levels.to(torch.uint8)}


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_fixed_number_for_each_class(kind: str) -> None:
    buffer = BUFFERS[kind](images_per_class=3)
    assert buffer.samples is None
    assert len(buffer.buffer) == 0
    for count, experience in enumerate(make_benchmark(tasks(), "class").train_stream, 1):
        buffer.post_adapt(agent(), experience)
        assert counts(buffer) == [3] * 10 * count
        assert buffer.bytes == 30 * count * WHOLE
        assert buffer.buffer.targets.count == dict.fromkeys(range(10 * count), 3)
    with pytest.raises(UserError, match="ReplayPlugin needs: give max_size instead"):
        ReplayPlugin(mem_size=90, storage_policy=buffer)


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_fixed_total_is_shared_and_resized_by_rank(kind: str) -> None:
    buffer = BUFFERS[kind](100)
    one, two, _ = make_benchmark(tasks()).train_stream
    buffer.post_adapt(agent(), one)
    assert counts(buffer) == [10] * 10
    ranked = {group: kept.pixels() for group, kept in buffer.groups.items()}
    buffer.post_adapt(agent(), two)
    assert counts(buffer) == [5] * 20
    buffer.resize(agent(), 60)
    assert counts(buffer) == [3] * 20
    for group, images in ranked.items():
        assert torch.equal(buffer.groups[group].pixels(), images[:3])
    buffer.resize(agent(), 1000)
    assert counts(buffer) == [3] * 20
    buffer.resize(agent(), 19)
    assert counts(buffer) == [1] * 19


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_all_of_a_total_is_used(kind: str) -> None:
    buffer = BUFFERS[kind](37)
    buffer.post_adapt(agent(), first())
    assert sorted(counts(buffer)) == [3] * 3 + [4] * 7
    assert buffer.bytes == 37 * WHOLE


@pytest.mark.parametrize("balance", ["class", "experience"])
def test_when_the_groups_are_more_than_the_places_a_random_choice_remains(balance: Any) -> None:
    """Equal numbers of each class, or of each experience; the experiences are chosen evenly."""
    buffer = RandomBuffer(30, balance=balance, seed=1)
    for experience in make_benchmark([tasks()[0]] * 8).train_stream:
        buffer.post_adapt(agent(), experience)
        assert len(buffer.samples) == 30
    groups = list(buffer.groups)
    labels = torch.tensor([group.label for group in groups]).bincount(minlength=10)
    experiences = torch.tensor([group.experience for group in groups]).bincount(minlength=8)
    if balance == "class":
        assert labels.tolist() == [3] * 10
        assert (experiences > 0).sum() >= 6
    else:
        assert sorted(experiences.tolist()) == [3, 3] + [4] * 6


def test_an_experience_has_its_share_however_many_classes_it_has() -> None:
    data = tasks()[0]
    stream = [data.with_classes([0, 1]), data.with_classes([2, 3, 4, 5])]
    for balance, expected in [("class", [4] * 6), ("experience", [6] * 2 + [3] * 4)]:
        buffer = RandomBuffer(24, balance=balance)
        for experience in make_benchmark(stream, "class").train_stream:
            buffer.post_adapt(agent(), experience)
        assert counts(buffer) == expected


def test_the_places_of_experiences_that_are_gone_are_not_given_again() -> None:
    """Each pass has a new benchmark, whose experiences count from 0."""
    buffer, held = RandomBuffer(20, seed=1), []
    for _ in range(6):
        for experience in make_benchmark([tasks()[0]] * 2).train_stream:
            buffer.post_adapt(agent(), experience)
        gc.collect()
        held.append({group.experience for group in buffer.groups})
    assert max(held[-1]) >= 8, "no experience of the last passes is in the memory"
    again = RandomBuffer(20, seed=1)
    again.load_state_dict(buffer.state_dict(), tasks()[0])
    again.post_adapt(agent(), make_benchmark(tasks()[:1]).train_stream[0])
    assert {group.experience for group in again.groups} <= {*held[-1], 12}


def test_an_experience_seen_again_replaces_what_was_kept_of_it() -> None:
    buffer = RandomBuffer(images_per_class=2)
    for experience in list(make_benchmark(tasks()).train_stream[:1]) * 2:
        buffer.post_adapt(agent(), experience)
    assert counts(buffer) == [2] * 10


def test_experiences_of_another_stream_replace_nothing_in_a_copy() -> None:
    buffer = RandomBuffer(images_per_class=2)
    buffer.post_adapt(agent(), first())
    for again in (copy.deepcopy(buffer), pickle.loads(pickle.dumps(buffer))):
        again.post_adapt(agent(), make_benchmark(tasks()[1:]).train_stream[0])
        assert counts(again) == [2] * 20


def test_a_buffer_without_a_total_gets_one_by_resizing() -> None:
    buffer = RandomBuffer(images_per_class=4)
    buffer.post_adapt(agent(), first())
    buffer.resize(agent(), 20)
    assert counts(buffer) == [2] * 10
    assert buffer.max_size == 20


def test_which_classes_remain_depends_on_the_seed() -> None:
    chosen = []
    for seed in (0, 0, 1):
        buffer = RandomBuffer(5, seed=seed)
        buffer.post_adapt(agent(), first())
        chosen.append([group.label for group in buffer.groups])
    assert chosen[0] == chosen[1] != chosen[2]


def test_logits_stay_with_their_images() -> None:
    """Also when these get fewer bits; new ones are in the buffer at once."""
    buffer, experience = RandomBuffer(80, storage="dct", store_logits=True), first()
    buffer.post_adapt(agent(), experience)
    for seed in (0, 1):
        draws = generator(seed)
        buffer.update_logits(
            experience, lambda kept, draws=draws: torch.randn(len(kept), 10, generator=draws)
        )
        logits = buffer.samples.logits
        assert torch.equal(buffer.buffer[3][-1], logits[3].float())
    before = next(iter(buffer.groups.values())).codec
    buffer.resize(agent(), 60)
    assert next(iter(buffer.groups.values())).codec is not before
    assert torch.equal(buffer.samples.logits, logits)


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_selected_images_are_real_and_of_their_class(kind: str) -> None:
    buffer = BUFFERS[kind](images_per_class=4)
    buffer.post_adapt(agent(), make_benchmark(tasks(), "class").train_stream[1])
    data = tasks()[1]
    for group, kept in buffer.groups.items():
        real = as_bytes(data.x_train[data.y_train == group.label - 10] / 255)
        chosen = as_bytes(kept.pixels())
        assert len(chosen) == 4
        assert chosen <= real


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_buffer_serves_replay_with_naive(kind: str) -> None:
    storage = BUFFERS[kind](60)
    model = agent().model
    strategy = Naive(
        model=model,
        optimizer=torch.optim.SGD(model.parameters(), 0.01),
        train_mb_size=32,
        evaluator=None,
        plugins=[ReplayPlugin(mem_size=60, storage_policy=storage)],
    )
    for count, experience in enumerate(make_benchmark(tasks()).train_stream, 1):
        strategy.train(experience, eval_streams=[])
        assert counts(storage) == [60 // (10 * count)] * 10 * count


def test_what_the_buffer_gives_is_what_the_network_sees() -> None:
    buffer, data = RandomBuffer(images_per_class=1), tasks()[0]
    buffer.post_adapt(agent(), make_benchmark(tasks(), "task").train_stream[1])
    image, label, task = buffer.buffer[3]
    assert (label, task) == (3, 1)
    mean, std = torch.tensor([data.mean, data.std])[:, :, None, None]
    torch.testing.assert_close(image, (buffer.samples.pixels()[3] - mean) / std)
    assert buffer.buffer[-1][1] == 9
    assert buffer.buffer_groups.keys() == set(range(10))
    (alone, *_), *others = buffer.buffer_groups[3].buffer
    assert torch.equal(alone, image)
    assert not others


def test_only_the_class_that_is_read_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = RandomBuffer(images_per_class=2)
    buffer.post_adapt(agent(), first())
    read, decode = [], RandomBuffer._samples

    def count(self: RandomBuffer, groups: Sequence[Group]) -> Samples:
        read.extend(groups)
        return decode(self, groups)

    monkeypatch.setattr(RandomBuffer, "_samples", count)
    # As Avalanche's MIR does, which looks each class up in `buffer_groups` again.
    for label, _ in buffer.buffer_groups.items():
        assert len(buffer.buffer_groups[label].buffer) == 2
    assert sorted(read) == sorted(buffer.groups)


def test_other_peoples_experiences_need_their_normalisation() -> None:
    experience = first()
    stranger = SimpleNamespace(dataset=experience.dataset, current_experience=0)
    with pytest.raises(UserError, match=r"1 but from -.* to .*: give the buffer the mean and std"):
        RandomBuffer(images_per_class=2).post_adapt(agent(), stranger)
    data = tasks()[0]
    about = {"mean": data.mean, "std": data.std, "hflip": False}
    knows, ours = (RandomBuffer(images_per_class=2, **about) for _ in "ab")
    knows.post_adapt(agent(), stranger)
    ours.post_adapt(agent(), experience)
    assert torch.equal(knows.samples.images, ours.samples.images)
    unknown = {**about, "mean": (torch.nan,) * 3}
    with pytest.raises(UserError, match="images are not in the range from 0 to 1"):
        RandomBuffer(images_per_class=2, **unknown).post_adapt(agent(), stranger)
    with pytest.raises(UserError, match="mean has 1 numbers, the images have 3 channels"):
        RandomBuffer(30, mean=(0.5,)).post_adapt(agent(), stranger)


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_of_a_class_that_has_too_few_all_are_kept(kind: str) -> None:
    buffer = BUFFERS[kind](images_per_class=13)
    strategy = tiny_eeil(memory=buffer)
    strategy.train(make_benchmark(tasks()[:1]).train_stream, eval_streams=[])
    assert counts(buffer) == [12] * 10


def test_an_interrupted_selection_does_not_change_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    buffer, stream = RandomBuffer(60), make_benchmark(tasks()).train_stream
    buffer.post_adapt(agent(), stream[0])
    monkeypatch.setattr(RandomBuffer, "select", interrupt)
    with pytest.raises(KeyboardInterrupt):
        buffer.post_adapt(agent(), stream[1])
    assert len(buffer.samples) == len(buffer.buffer) == 60
