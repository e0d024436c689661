from __future__ import annotations

import pickle
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.supervised import Naive

from condense import (
    Cache,
    CondensedSet,
    ImageData,
    UserError,
    build,
    condense,
    generator,
    greedy_herding,
    method_named,
)
from continual import (
    CondensedBuffer,
    HerdingBuffer,
    RandomBuffer,
    RehearsalBuffer,
    make_benchmark,
    with_heads,
)
from continual.settings import condensing_preset
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")

SETTINGS = method_named("dsa").preset("smoke", iterations=1, network=TINY_EEIL.network)
BUFFERS: dict[str, Any] = {
    "random": RandomBuffer,
    "herding": HerdingBuffer,
    "condensed": lambda *args, **rest: CondensedBuffer(*args, settings=SETTINGS, **rest),
}


def agent() -> Any:
    network = build(TINY_EEIL.network, (3, 16, 16), 10, generator(0, "network"))
    model = with_heads("domain", network)
    return SimpleNamespace(model=model, device=torch.device("cpu"))


def assert_same_images(kept: torch.Tensor, made: torch.Tensor) -> None:
    """The same but for their order and the rounding to bytes that value_range from -0.5 to 1.5."""
    assert kept.shape == made.shape
    made = made.clamp(-0.5, 1.5)
    furthest = (kept[:, None] - made[None]).abs().amax((2, 3, 4))
    assert (furthest.argmin(1).sort().values == torch.arange(len(made))).all()
    assert furthest.amin(1).max() <= 1.001 / 255


def counts(buffer: RehearsalBuffer) -> list[int]:
    return [len(kept) for kept in buffer.groups.values()]


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_fixed_number_for_each_class(kind: str) -> None:
    buffer = BUFFERS[kind](images_per_class=3)
    assert buffer.samples is None
    for count, experience in enumerate(make_benchmark(tasks(), "class").train_stream, 1):
        buffer.post_adapt(agent(), experience)
        assert counts(buffer) == [3] * 10 * count
        assert len(buffer.buffer) == buffer.max_size == 30 * count
        assert buffer.buffer.targets.count == dict.fromkeys(range(10 * count), 3)


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_fixed_total_is_shared_and_resized_by_rank(kind: str) -> None:
    buffer = BUFFERS[kind](100)
    first, second, _ = make_benchmark(tasks()).train_stream
    buffer.post_adapt(agent(), first)
    assert counts(buffer) == [10] * 10
    ranked = {group: kept.images for group, kept in buffer.groups.items()}
    buffer.post_adapt(agent(), second)
    assert counts(buffer) == [5] * 20
    buffer.resize(agent(), 60)
    assert counts(buffer) == [3] * 20
    for group, images in ranked.items():
        assert torch.equal(buffer.groups[group].images, images[:3])
    buffer.resize(agent(), 1000)
    assert counts(buffer) == [3] * 20
    with pytest.raises(UserError, match="cannot hold 20 classes"):
        buffer.resize(agent(), 19)


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_factor_stores_more_and_smaller_images_in_the_same_bytes(kind: str) -> None:
    whole, parts = (BUFFERS[kind](images_per_class=1, factor=side) for side in (1, 2))
    experience = make_benchmark(tasks()).train_stream[0]
    for buffer in (whole, parts):
        buffer.post_adapt(agent(), experience)
    assert counts(parts) == [4] * 10
    assert parts.samples.images.shape == (40, 3, 8, 8)
    assert parts.samples.images.dtype == whole.samples.images.dtype
    assert parts.samples.bytes == whole.samples.bytes
    assert parts.max_size == whole.max_size == 10
    assert parts.samples.inputs().shape == (40, 3, 16, 16)
    assert parts.buffer[0][0].shape == (3, 16, 16)


def test_small_images_are_real_ones_made_small_and_enlarged_again() -> None:
    buffer, data = RandomBuffer(images_per_class=1, factor=3), tasks()[0]
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    shrunk = F.interpolate(data.x_train.float(), (5, 5), mode="bilinear", antialias=True)
    real = {image.numpy().tobytes() for image in shrunk.round().to(torch.uint8)}
    assert {image.numpy().tobytes() for image in buffer.samples.images} <= real
    enlarged = F.interpolate(buffer.samples.images / 255, (16, 16), mode="bilinear")
    mean, std = torch.tensor([data.mean, data.std])[:, :, None, None]
    torch.testing.assert_close(buffer.samples.inputs(), (enlarged - mean) / std)


def test_a_condensed_memory_with_a_factor_is_condensed_small() -> None:
    buffer = BUFFERS["condensed"](20, factor=2)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condense(tasks()[0].resized(8, 3), "dsa", replace(SETTINGS, ipc=8))
    assert_same_images(buffer.samples.pixels(), expected.images)


@pytest.mark.parametrize("factor", [1, 2])
def test_a_memory_without_settings_has_those_of_its_factor(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(data: ImageData, method: str, settings: Any, **rest: Any) -> CondensedSet:
        asked.append(settings)
        return condense(data, "random", ipc=settings.ipc, storage="float32")

    monkeypatch.setattr("continual.storage_policy.condense", make)
    buffer = CondensedBuffer(images_per_class=1, factor=factor)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condensing_preset("dsa", "cpu", factor)
    assert asked == [replace(expected, ipc=factor**2)]


def test_an_experience_seen_again_replaces_what_was_kept_of_it() -> None:
    buffer = RandomBuffer(images_per_class=2)
    for experience in list(make_benchmark(tasks()).train_stream[:1]) * 2:
        buffer.post_adapt(agent(), experience)
    assert counts(buffer) == [2] * 10


@pytest.mark.parametrize("kind", ["random", "herding"])
def test_selected_images_are_real_and_of_their_class(kind: str) -> None:
    buffer = BUFFERS[kind](images_per_class=4)
    buffer.post_adapt(agent(), make_benchmark(tasks(), "class").train_stream[1])
    data = tasks()[1]
    for group, kept in buffer.groups.items():
        real = {image.numpy().tobytes() for image in data.x_train[data.y_train == group.label - 10]}
        chosen = {image.numpy().tobytes() for image in kept.images}
        assert len(chosen) == 4
        assert chosen <= real


def test_herding_by_brute_force_on_the_normalised_features_of_the_model() -> None:
    buffer, learnt, data = HerdingBuffer(images_per_class=3), agent(), tasks()[0]
    buffer.post_adapt(learnt, make_benchmark(tasks()).train_stream[0])
    for group, kept in buffer.groups.items():
        images = data.x_train[data.y_train == group.label]
        with torch.no_grad():
            features = F.normalize(learnt.model.features(data.normalise(images)))
        chosen: list[int] = []
        for _ in range(3):
            distances = [
                torch.inf
                if row in chosen
                else float((features[[*chosen, row]].mean(0) - features.mean(0)).norm())
                for row in range(len(images))
            ]
            chosen.append(distances.index(min(distances)))
        assert torch.equal(kept.images, images[chosen])


def test_a_condensed_memory_is_what_condense_makes(tmp_path: Any) -> None:
    cache = Cache(tmp_path)
    buffer = CondensedBuffer(images_per_class=2, settings=SETTINGS, cache=cache, seed=5)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condense(tasks()[0], "dsa", replace(SETTINGS, ipc=2), seed=5)
    for group, kept in buffer.groups.items():
        assert_same_images(kept.pixels(), expected.images[expected.labels == group.label])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


@pytest.mark.parametrize(("head", "first"), [("domain", 0), ("class", 10)])
def test_a_soft_label_is_stored_with_the_class_it_was_learnt_for(head: str, first: int) -> None:
    settings = method_named("ld").preset("smoke", label_lr=0.3, network=TINY_EEIL.network)
    buffer = CondensedBuffer(images_per_class=2, method="ld", settings=settings, store_logits=True)
    assert not buffer.store_logits  # soft labels are not to be written over
    buffer.post_adapt(agent(), make_benchmark(tasks(), head).train_stream[1])
    made = condense(tasks()[1], "ld", replace(settings, ipc=2))
    assert made.labels.argmax(1).tolist() != made.hard_labels.tolist()
    for group, kept in buffer.groups.items():
        mine = slice(2 * (group.label - first), 2 * (group.label - first) + 2)
        order = greedy_herding(made.images[mine].flatten(1), 2)
        assert_same_images(kept.pixels(), made.images[mine][order])
        assert kept.labels.tolist() == [group.label] * 2
        assert kept.logits[:, :first].isnan().all()
        soft = kept.logits[:, first:].float().softmax(1)
        torch.testing.assert_close(soft, made.labels[mine][order], atol=1e-3, rtol=0)


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
    torch.testing.assert_close(image, data.normalise(buffer.samples.images[3]))
    assert buffer.buffer[-1][1] == 9
    again = pickle.loads(pickle.dumps(BUFFERS["condensed"](7)))
    assert (again.max_size, again.method) == (7, "dsa")


def test_other_peoples_experiences_need_their_normalisation() -> None:
    experience = make_benchmark(tasks()).train_stream[0]
    stranger = SimpleNamespace(dataset=experience.dataset, current_experience=0)
    with pytest.raises(UserError, match="give the buffer the mean and std"):
        RandomBuffer(images_per_class=2).post_adapt(agent(), stranger)
    data = tasks()[0]
    about = {"mean": data.mean, "std": data.std, "hflip": False}
    knows, ours = (RandomBuffer(images_per_class=2, **about) for _ in "ab")
    knows.post_adapt(agent(), stranger)
    ours.post_adapt(agent(), experience)
    assert torch.equal(knows.samples.images, ours.samples.images)


@pytest.mark.parametrize("kind", BUFFERS)
@pytest.mark.parametrize("store_logits", [False, True])
def test_a_memory_comes_back_from_its_tensors(kind: str, store_logits: bool) -> None:
    settings = {"images_per_class": 1, "factor": 2, "store_logits": store_logits}
    buffer, data = BUFFERS[kind](**settings), tasks()[0]
    for classes, experience in enumerate(make_benchmark(tasks(), "class").train_stream, 1):
        buffer.post_adapt(agent(), experience)
        if store_logits:
            said = torch.randn(4, 10 * classes, generator=generator(classes))
            buffer.update_logits(experience, lambda kept, said=said: said)
    other = BUFFERS[kind](**settings)
    other.load_state_dict(dict(reversed(buffer.state_dict().items())), data)
    assert list(other.groups) == list(buffer.groups)
    for name in ("images", "labels", "tasks"):
        assert torch.equal(getattr(other.samples, name), getattr(buffer.samples, name))
    assert torch.equal(other.samples.inputs(), buffer.samples.inputs())
    assert store_logits == (buffer.samples.logits is not None)
    if store_logits:
        assert buffer.samples.logits.shape == (120, 30)
        torch.testing.assert_close(other.samples.logits, buffer.samples.logits, equal_nan=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomBuffer(), "give the buffer a size"),
        (lambda: RandomBuffer(images_per_class=0), "at least 1"),
        (lambda: RandomBuffer(10, factor=0), "factor must be at least 1"),
        (lambda: CondensedBuffer(10, method="dsaa"), "unknown method 'dsaa'; known: dsa"),
        (
            lambda: BUFFERS["condensed"](images_per_class=13).post_adapt(agent(), _first()),
            "fewer than 13",
        ),
        (lambda: RandomBuffer(10, images_per_class=2), "either max_size or images_per_class"),
        (lambda: RandomBuffer(9).post_adapt(agent(), _first()), "cannot hold 10 classes"),
        (
            lambda: RandomBuffer(10, factor=17).post_adapt(agent(), _first()),
            "images of 16×16 cannot be made 17 times smaller",
        ),
    ],
)
def test_what_makes_no_sense_is_said(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


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


def _first() -> Any:
    return make_benchmark(tasks()).train_stream[0]


def test_eeil_learns_with_a_condensed_memory() -> None:
    strategy = tiny_eeil(memory=BUFFERS["condensed"](images_per_class=1))
    strategy.train(make_benchmark(tasks()).train_stream, eval_streams=[])
    assert len(strategy.memory.samples) == 30
