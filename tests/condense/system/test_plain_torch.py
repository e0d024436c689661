"""Results depend on the arguments alone, whatever modes PyTorch is in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from condense import evaluation
from condense.api import condense
from condense.augment.params import augment_batch, sample_params
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.data.loading import load
from condense.methods.registry import METHODS
from condense.models.build import build
from condense.seeds import generator
from condense.storage.capacity import codec_of
from condense.storage.stored import StoredImages
from condense.system.plain_torch import plain_torch
from condense.training.loop import train
from condense.training.schedule import Schedule
from tests.helpers.images import blobs
from tests.helpers.processes import python


@contextmanager
def float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


MODES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": partial(torch.autocast, "cpu", torch.bfloat16),
    "default dtype": float64,
    "default device": partial(torch.device, "meta"),
}
in_every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@in_every_mode
@pytest.mark.parametrize("method", METHODS)
def test_sets_are_those_without_the_mode(
    method: str, mode: Callable[[], AbstractContextManager[Any]], data: ImageData
) -> None:
    plain = condense(data, method, preset="smoke", ipc=1)
    with mode():
        assert condense(data, method, preset="smoke", ipc=1).fingerprint() == plain.fingerprint()


@in_every_mode
@pytest.mark.parametrize("storage", ["float32", "pixels", "ycbcr420", "dct"])
def test_files_and_accuracies_are_those_without_the_mode(
    storage: str, mode: Callable[[], AbstractContextManager[Any]], tmp_path: Path
) -> None:
    data, tested = (
        blobs(shape=(3, 8, 8)),
        Evaluation(num_eval=1, steps=3, network=Network(width=4)),
    )

    def results(path: Path) -> tuple[object, ...]:
        made = condense(
            data, "random", preset="smoke", ipc=2, storage=storage, labels="soft", teacher_steps=3
        )
        made.save(path)
        loaded = CondensedSet.load(path)
        assert loaded.fingerprint() == made.fingerprint()
        merged = CondensedSet.merge([loaded])
        return path.read_bytes(), merged.fingerprint(), evaluation.evaluate(loaded, data, tested)

    plain = results(tmp_path / "plain.safetensors")
    with mode():
        assert results(tmp_path / "set.safetensors") == plain


@in_every_mode
def test_networks_are_trained_as_without_the_mode(
    mode: Callable[[], AbstractContextManager[Any]], data: ImageData
) -> None:
    def results() -> tuple[bytes, float]:
        network = build(Network(width=4), data.shape, data.classes, generator(0))
        schedule = Schedule(3, batch_size=8, lr=0.01, momentum=0.9, weight_decay=0.0)
        train(network, data.x_train, data.y_train, schedule, generator(1), transform=data.normalise)
        weights = [weight.detach().numpy().tobytes() for weight in network.parameters()]
        return b"".join(weights), evaluation.test_accuracy(network, data)

    plain = results()
    with mode():
        assert results() == plain


def test_codecs_and_augmentations_are_float32_with_another_default() -> None:
    data = blobs(shape=(3, 8, 8))
    images = data.normalise(data.x_train)

    def results() -> list[torch.Tensor]:
        found = [augment_batch(images, ("crop", "scale"), generator(0))]
        found.append(sample_params(("crop",), generator(1)).numbers)
        for storage in ("pixels", "ycbcr420", "dct"):
            settings = METHODS["random"].preset("smoke", storage=storage)
            codec = codec_of(data, settings)
            stored = StoredImages.of(codec, codec.encode(images))
            found.append(stored.decode(data.mean, data.std))
        return found

    plain = results()
    with float64():
        for one, other in zip(results(), plain, strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other)


def test_a_first_import_without_gradients_does_no_harm() -> None:
    program = """
import torch
with torch.inference_mode():
    from condense.storage.ycbcr import YCBCR
assert not YCBCR.is_inference()
"""
    assert python(program).returncode == 0


def test_the_modes_of_the_caller_come_back() -> None:
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad(), float64(), torch.device("meta"):
        with plain_torch():
            assert torch.is_grad_enabled()
            assert not torch.is_autocast_enabled("cpu")
            assert torch.zeros(()).dtype == torch.float32
            assert torch.zeros(()).device.type == "cpu"
        assert not torch.is_grad_enabled()
        assert torch.is_autocast_enabled("cpu")
        assert torch.zeros(()).dtype == torch.float64
        assert torch.zeros(()).device.type == "meta"


@in_every_mode
def test_reading_and_looking_at_a_set_do_not_depend_on_the_mode(
    mode: Callable[[], AbstractContextManager[Any]], data: ImageData
) -> None:
    small = condense(data, "random", preset="smoke", ipc=2, storage="dct")
    plain, about = load("digits"), (small.bytes, repr(small), small.grid().tobytes())
    with mode():
        arrays = ImageData.from_arrays(np.zeros((20, 8, 8, 3)), np.arange(20) % 2)
        assert load("digits").fingerprint() == plain.fingerprint()
        assert (small.bytes, repr(small), small.grid().tobytes()) == about
    assert arrays.x_train.device.type == "cpu"
