"""Chunks on several threads: the same bits as on one, and PyTorch's own threads put back."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from condense.api import condense
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.evaluation import evaluate
from condense.methods.registry import method_named
from condense.training import chunking
from condense.training import threads as threads_module
from condense.training.threads import map_chunks, shared_operations, worker_threads
from tests.helpers.images import blobs

CPU = torch.device("cpu")


def _name() -> str:
    return threading.current_thread().name


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_chunks_come_in_order_from_threads_that_compute_with_one() -> None:
    with worker_threads(CPU):
        assert torch.get_num_threads() == 1
        found = list(map_chunks(lambda n: (n, torch.get_num_threads()), range(20)))
    assert found == [(n, 1) for n in range(20)]
    assert torch.get_num_threads() == 3


def test_several_threads_compute_at_once() -> None:
    together = threading.Barrier(3)  # broken, so that the test fails, where one waits alone
    with worker_threads(CPU):
        assert sorted(map_chunks(lambda _: together.wait(600), range(3))) == [0, 1, 2]


@pytest.mark.parametrize(("free", "workers"), [(7 << 30, 3), (5 << 30, 2), (1 << 20, 1), (None, 3)])
def test_no_more_threads_than_fit_into_memory(
    free: int | None, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads_module, "available_memory", lambda: free)
    together = threading.Barrier(workers)
    with worker_threads(CPU):
        found = set(map_chunks(lambda _: (together.wait(600), _name())[1], range(6 * workers)))
    assert len(found) == workers
    assert torch.get_num_threads() == 3


def test_on_one_thread_or_another_device_nothing_changes() -> None:
    with worker_threads(torch.device("cuda")):
        assert torch.get_num_threads() == 3
        assert list(map_chunks(lambda _: threading.current_thread().name, [0])) == ["MainThread"]
    torch.set_num_threads(1)
    with worker_threads(CPU):
        assert list(map_chunks(lambda _: threading.current_thread().name, [0])) == ["MainThread"]


def test_within_a_block_and_within_a_chunk_another_one_changes_nothing() -> None:
    def nested(_: int) -> tuple[int, str]:
        here = threading.current_thread().name
        with worker_threads(CPU):
            (there,) = map_chunks(lambda _: threading.current_thread().name, [0])
        return torch.get_num_threads(), "same" if here == there else there

    with worker_threads(CPU):
        with worker_threads(CPU):
            assert list(map_chunks(nested, range(4))) == [(1, "same")] * 4
        assert torch.get_num_threads() == 1


def test_gradients_are_off_in_the_chunks_where_they_are_off() -> None:
    with worker_threads(CPU):
        assert list(map_chunks(lambda _: torch.is_grad_enabled(), [0])) == [True]
        with torch.no_grad():
            assert list(map_chunks(lambda _: torch.is_grad_enabled(), [0])) == [False]
        assert list(map_chunks(lambda _: torch.is_grad_enabled(), range(9))) == [True] * 9


def test_what_a_chunk_raises_is_raised_and_threads_are_put_back() -> None:
    def fail(n: int) -> int:
        if n == 2:
            raise ValueError("chunk 2")
        return n

    with pytest.raises(ValueError, match="chunk 2"), worker_threads(CPU):
        list(map_chunks(fail, range(100)))
    assert torch.get_num_threads() == 3


def test_a_batch_without_chunks_has_all_threads() -> None:
    with shared_operations():
        assert torch.get_num_threads() == 3
    with worker_threads(CPU):
        with shared_operations():
            assert torch.get_num_threads() == 3
        assert torch.get_num_threads() == 1


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that even tiny images come in several chunks."""
    monkeypatch.setattr(chunking, "CHUNK_BYTES", 1)
    monkeypatch.setattr(chunking, "MIN_CHUNK", 4)


METHODS = {
    "dsa": {
        "iterations": 2,
        "outer_loop": 2,
        "inner_loop": 1,
        "batch_real": 8,
        "init": "herding",
        "herding_steps": 5,
    },
    "dc": {"iterations": 2, "outer_loop": 2, "inner_loop": 1, "batch_real": 8},
    "dm": {"iterations": 3, "batch_real": 8},
    "idm": {"iterations": 3, "batch_real": 8},
    "kip": {"iterations": 3, "batch_real": 20, "learn_labels": True},
    "herding": {"steps": 5},
}


@pytest.mark.parametrize("method", METHODS)
def test_sets_have_the_same_bits_on_any_number_of_threads(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    data = blobs(classes=5)
    settings = method_named(method).preset(
        "smoke", ipc=3, network=Network(width=4, depth=2), **METHODS[method]
    )
    made = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        made.append(condense(data, method, settings).images)
    assert torch.equal(made[0], made[1])
    assert torch.equal(made[0], made[2])


def test_evaluation_has_the_same_bits_on_any_number_of_threads(
    data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_small(monkeypatch)
    small = condense(data, "random", ipc=8)
    settings = Evaluation(
        num_eval=2, epoch_eval_train=4, lr=0.05, network=Network(width=4, depth=2)
    )
    found = []
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        found.append(evaluate(small, data, settings).values)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("method", ["dsa", "dm", "idm"])
def test_with_batch_norm_each_batch_has_all_threads(
    method: str, data: ImageData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, set[int]] = {}
    forward = nn.BatchNorm2d.forward

    def noted(self: nn.BatchNorm2d, images: Tensor) -> Tensor:
        if self.training and not images.is_meta:  # frozen in DSA, chunks have a thread each
            seen.setdefault(len(images), set()).add(torch.get_num_threads())
        return forward(self, images)

    monkeypatch.setattr(nn.BatchNorm2d, "forward", noted)
    network = Network(width=4, depth=1, norm="batch")
    settings = method_named(method).preset("smoke", ipc=2, network=network, **METHODS[method])
    condense(data, method, settings)
    real = {"dsa": 16, "dm": 8, "idm": 8}[method] * data.classes
    assert {real, 2 * data.classes} <= set(seen)
    assert set.union(*seen.values()) == {3}


def test_batch_norm_sees_whole_batches_and_still_trains(data: ImageData) -> None:
    small = condense(data, "random", ipc=8)
    settings = Evaluation(
        num_eval=1, epoch_eval_train=30, lr=0.05, network=Network(width=4, depth=2, norm="batch")
    )
    assert evaluate(small, data, settings).mean > 0.6
