from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from condense import (
    Cache,
    CondensedSet,
    ImageData,
    UserError,
    condense,
    greedy_herding,
    load,
    method_named,
)
from continual import CondensedBuffer, make_benchmark
from continual.settings import condensing_preset
from tests.helpers.buffers import BUFFERS, SETTINGS, agent, counts, few
from tests.helpers.tiny_streams import TINY_EEIL, tasks, tiny_eeil

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")


def assert_same_images(kept: torch.Tensor, made: torch.Tensor) -> None:
    """The same but for their order and the rounding to 256 levels of their range."""
    assert kept.shape == made.shape
    furthest = (kept[:, None] - made[None]).abs().amax((2, 3, 4))
    assert (furthest.argmin(1).sort().values == torch.arange(len(made))).all()
    span = max(1.0, float(made.max())) - min(0.0, float(made.min()))
    assert furthest.amin(1).max() <= 0.51 * span / 255


def test_what_is_condensed_is_what_condense_makes(tmp_path: Any) -> None:
    cache = Cache(tmp_path)
    buffer = CondensedBuffer(images_per_class=2, settings=SETTINGS, cache=cache, seed=5)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condense(tasks()[0], "dsa", replace(SETTINGS, ipc=2), seed=5)
    for group, kept in buffer.groups.items():
        assert_same_images(kept.pixels(), expected.images[expected.labels == group.label])
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_with_a_factor_small_images_are_condensed_and_enlarged() -> None:
    buffer = BUFFERS["condensed"](20, factor=2)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    made = condense(tasks()[0].resized(8, 3), "dsa", replace(SETTINGS, ipc=8)).images
    assert_same_images(buffer.samples.pixels(), F.interpolate(made, (16, 16), mode="bilinear"))
    assert buffer.bytes == 80 * 3 * 8 * 8


def test_images_that_are_not_square_keep_their_shape_with_a_factor() -> None:
    wide = [task.resized((16, 24), 3) for task in tasks()]
    buffer = BUFFERS["condensed"](20, factor=2)
    buffer.post_adapt(agent(), make_benchmark(wide).train_stream[0])
    assert buffer.samples.pixels().shape == (80, 3, 16, 24)


@pytest.mark.parametrize("storage", ["dct", "ycbcr420"])
def test_a_storage_is_condensed_through(storage: Any) -> None:
    settings = replace(SETTINGS, storage=storage)
    buffer = CondensedBuffer(images_per_class=2, storage=storage, settings=settings)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condense(tasks()[0], "dsa", replace(settings, ipc=2))
    assert counts(buffer) == [expected.images_per_class] * 10
    assert expected.images_per_class > 2
    assert buffer.bytes <= 2 * 10 * 3 * 16 * 16
    for group, kept in buffer.groups.items():
        mine = expected.images[expected.hard_labels == group.label]
        order = greedy_herding(mine.flatten(1), len(mine))
        torch.testing.assert_close(kept.pixels(), mine[order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("factor", [1, 2])
def test_without_settings_it_has_those_of_its_factor(
    factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(data: ImageData, method: str, settings: Any, **rest: Any) -> CondensedSet:
        asked.append(settings)
        return condense(data, "random", ipc=settings.ipc, storage="float32")

    monkeypatch.setattr("continual.condensed_buffer.condense", make)
    buffer = CondensedBuffer(images_per_class=1, factor=factor)
    buffer.post_adapt(agent(), make_benchmark(tasks()).train_stream[0])
    expected = condensing_preset("dsa", "cpu", factor)
    assert asked == [replace(expected, ipc=factor**2)]


@pytest.mark.parametrize(("classes", "rates"), [(2, (0.2, 0.05)), (3, (3.0, 0.2))])
def test_two_classes_are_matched_at_small_rates(
    classes: int, rates: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def make(data: ImageData, method: str, settings: Any, **rest: Any) -> CondensedSet:
        asked.append((settings.lr_img, settings.lr_net))
        return condense(data, "random", ipc=settings.ipc, storage="float32")

    monkeypatch.setattr("continual.condensed_buffer.condense", make)
    some = load("digits").with_classes(range(classes))
    CondensedBuffer(20, preset="cpu").post_adapt(agent(), make_benchmark([some]).train_stream[0])
    assert asked == [rates]


@pytest.mark.parametrize("storage", ["pixels", "dct"])
def test_a_memory_trains_the_networks_of_idm_briefly(storage: Any) -> None:
    for preset, trained in [("cpu", (5, 200)), ("paper", (100, 600))]:
        found = condensing_preset("idm", preset, storage=storage)
        assert (found.net_num, found.net_steps) == trained
    assert condensing_preset("dsa", "cpu", storage="dct").iterations == 10


def test_a_class_with_too_few_images_keeps_them_and_the_others_are_condensed() -> None:
    data = few(tasks()[0], class_3=1, class_7=3)
    buffer = CondensedBuffer(images_per_class=4, settings=SETTINGS)
    buffer.post_adapt(agent(), make_benchmark([data]).train_stream[0])
    assert counts(buffer) == [4, 4, 4, 1, 4, 4, 4, 3, 4, 4]
    for label in (3, 7):
        real = data.x_train[data.y_train == label] / 255
        kept = list(buffer.groups.values())[label].pixels()
        torch.testing.assert_close(kept, real, atol=1e-6, rtol=0)
    large = data.with_classes([0, 1, 2, 4, 5, 6, 8, 9])
    expected = condense(large, "dsa", replace(SETTINGS, ipc=4))
    first = next(iter(buffer.groups.values()))
    assert_same_images(first.pixels(), expected.images[expected.labels == 0])


@pytest.mark.parametrize("storage", ["pixels", "dct"])
def test_without_a_large_class_all_real_images_are_kept(storage: Any) -> None:
    data = few(tasks()[0], **{f"class_{label}": 2 for label in range(10)})
    buffer = CondensedBuffer(images_per_class=3, storage=storage)
    buffer.post_adapt(agent(), make_benchmark([data]).train_stream[0])
    torch.testing.assert_close(buffer.samples.pixels(), data.x_train / 255, atol=1e-6, rtol=0)


@pytest.mark.parametrize("preset", ["cpu", "smoke"])
@pytest.mark.parametrize("method", ["dsa", "kip", "dd", "gtn", "ld"])
def test_one_class_is_condensed_by_dm_as_others_have_nothing_to_learn(
    method: str, preset: str
) -> None:
    data = tasks()[0]
    alone = replace(
        data.train_subset(data.train_indices_by_class()[4]),
        class_names=("4",),
        y_train=torch.zeros(12, dtype=torch.int64),
        x_test=data.x_test[:0],
        y_test=data.y_test[:0],
    )
    own = method_named(method).preset("smoke", network=SETTINGS.network)
    buffer = CondensedBuffer(images_per_class=2, method=method, settings=own, preset=preset)
    buffer.post_adapt(agent(), make_benchmark([alone]).train_stream[0])
    settings = condensing_preset("dm", preset)
    expected = condense(alone, "dm", replace(settings, ipc=2, network=SETTINGS.network))
    assert_same_images(buffer.samples.pixels(), expected.images)


def test_an_unknown_preset_is_said_at_once() -> None:
    with pytest.raises(UserError, match="unknown preset 'big'; known: auto, paper, cpu, smoke"):
        CondensedBuffer(10, preset="big")


def test_learnt_labels_take_the_place_of_logits() -> None:
    learning = method_named("kip").preset("smoke", learn_labels=True)
    assert not CondensedBuffer(10, method="kip", settings=learning, store_logits=True).store_logits
    assert CondensedBuffer(10, method="kip", store_logits=True).store_logits


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
        assert kept.logits is not None
        assert kept.logits[:, :first].isnan().all()
        soft = kept.logits[:, first:].float().softmax(1)
        torch.testing.assert_close(soft, made.labels[mine][order], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "dsaa"}, "unknown memory 'dsaa'; known: dsa"),
        ({"method": "whole"}, "whole keeps all training images, a memory some"),
        ({"storage": "dct", "settings": SETTINGS}, "must be dct, 1 and hard"),
        ({"settings": replace(SETTINGS, factor=2)}, "must be float32, 1 and hard"),
    ],
)
def test_what_makes_no_sense_is_said(arguments: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        CondensedBuffer(10, **arguments)


def test_a_new_buffer_can_be_pickled() -> None:
    again = pickle.loads(pickle.dumps(BUFFERS["condensed"](7)))
    assert (again.max_size, again.method) == (7, "dsa")


def test_eeil_learns_with_a_condensed_memory() -> None:
    strategy = tiny_eeil(memory=BUFFERS["condensed"](images_per_class=1))
    strategy.train(make_benchmark(tasks()).train_stream, eval_streams=[])
    assert len(strategy.memory.samples) == 30
