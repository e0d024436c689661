"""Work in chunks that fit: the same numbers, in memory that does not grow with the set."""

import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from condense.api import condense
from condense.augment.params import augment_batch
from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.config.network import WITHOUT_NORM, Network
from condense.methods.batch_norm import calibrate
from condense.methods.gradient_matching import Matcher
from condense.methods.registry import method_named
from condense.models.build import ARCHITECTURES, build
from condense.seeds import generator
from condense.training import chunking
from condense.training.chunking import (
    chunk_size_for,
    chunks,
    has_batch_norm,
    limit,
    matching_bytes,
    max_forward_batch,
    max_items,
    max_training_batch,
    training_bytes,
    widest_layer,
)
from condense.training.loop import CHUNK_SIZE, Step, train
from condense.training.schedule import Schedule
from tests.helpers.images import blobs
from tests.helpers.processes import python

CPU = torch.device("cpu")
SMALL = Network(width=4, depth=2)
TINY = GradientMatching(
    ipc=3, network=SMALL, iterations=2, outer_loop=2, inner_loop=2, batch_real=8
)


def test_what_a_forward_pass_keeps_by_hand():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Sigmoid(), nn.Linear(5, 2))
    # For two images: the first layer's input and weights, the sigmoid's output, which the second
    # layer keeps too, and its weights; the log-softmax's output, twice; labels and total weight.
    # Weights are there anyway and what is kept twice is counted twice: at least what follows.
    smallest = 4 * (12 + 5 + 5 + 2)
    assert smallest <= training_bytes(network, (3, 2, 2)) <= smallest + 4 * (60 + 10) + 40


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_any_network_can_be_measured_and_stays_as_it_is(architecture):
    norm = "none" if architecture in WITHOUT_NORM else "batch"
    network = build(Network(architecture, norm=norm), (3, 32, 32), 10, generator(0))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    once, twice = training_bytes(network, (3, 32, 32)), matching_bytes(network, (3, 32, 32))
    assert 0 < once < twice
    assert network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(
    ("network", "shape", "numbers"),
    [
        (Network(width=32), (3, 32, 32), 32 * 32 * 32),
        (Network(width=8), (1, 28, 28), 8 * 32 * 32),  # padded
        (Network("fc1", width=1024), (1, 28, 28), 1024),
        (Network("fc1", width=8), (1, 28, 28), 28 * 28),  # the flat image
        (Network("lenet"), (3, 32, 32), 6 * 28 * 28),
    ],
)
def test_the_widest_layer_by_hand(network, shape, numbers):
    assert widest_layer(build(network, shape, 10), shape) == 4 * numbers


@pytest.mark.parametrize(("width", "images"), [(128, 16), (64, 32), (32, 64), (16, 128)])
def test_the_widest_layer_of_a_convnet_stays_in_the_cache(width, images):
    settings = GradientMatching(ipc=1, network=Network(width=width), batch_real=4)
    assert Matcher(blobs(shape=(3, 32, 32)), settings, seed=0).chunk_size == images


def test_real_images_of_a_network_with_small_layers_are_not_cut(data):
    settings = GradientMatching(ipc=1, network=Network("fc1", width=1024), batch_real=256)
    assert Matcher(data, settings, seed=0).chunk_size >= 256


def test_wider_networks_and_larger_images_need_more():
    def needed(width, size):
        return matching_bytes(build(Network(width=width), (3, size, size), 10), (3, size, size))

    assert 1.8 < needed(64, 32) / needed(32, 32) < 2.2
    assert 3 < needed(32, 64) / needed(32, 32) < 4.1


def test_chunks_fit_and_are_never_empty():
    gpu = torch.device("cuda")
    assert (limit(CPU), limit(gpu)) == (chunking.CPU_BYTES, chunking.ACCELERATOR_BYTES)
    assert max_items(CPU, chunking.CPU_BYTES // 7) == 7
    assert max_items(CPU, 3 * chunking.CPU_BYTES) == 1
    assert chunks(5, 2) == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert chunks(3, 9) == [slice(0, 9)]


def test_on_a_cpu_chunks_are_small_but_have_a_minimum():
    assert chunk_size_for(CPU, chunking.CHUNK_BYTES // 7) == 7
    assert chunk_size_for(CPU, chunking.CHUNK_BYTES, min_chunk=4) == 4
    assert chunk_size_for(CPU, chunking.CPU_BYTES // 2, min_chunk=4) == 2
    gpu = torch.device("cuda")
    assert chunk_size_for(gpu, chunking.ACCELERATOR_BYTES // 7) == 7


def test_without_gradients_batches_are_no_larger_than_in_training():
    assert max_forward_batch(5) == 5
    assert max_forward_batch(None) == max_forward_batch(10**6) == CHUNK_SIZE


def test_batches_are_not_cut_with_batch_norm():
    plain, batch = (
        build(replace(SMALL, norm=norm), (1, 8, 8), 3) for norm in ("instance", "batch")
    )
    assert (has_batch_norm(plain), has_batch_norm(batch)) == (False, True)
    assert max_training_batch(batch, (1, 8, 8), CPU) is None
    assert max_training_batch(plain, (1, 8, 8), CPU) > 1000


@pytest.mark.parametrize("max_batch", [1, 4, 16])
def test_a_batch_in_chunks_trains_as_a_whole(data, max_batch):
    networks = [build(SMALL, data.shape, 3, generator(0)) for _ in range(2)]
    soft = F.one_hot(data.y_train, 3).float()
    images, schedule = data.normalise(data.x_train), Schedule(7, 16, 0.1, 0.9)
    for network, labels, size in zip(
        networks, (data.y_train, soft), (None, max_batch), strict=True
    ):
        draws = generator(1)
        augment = partial(augment_batch, strategy=("crop", "color"), generator=draws)
        step = Step(network, size)
        train(network, images, labels, schedule, draws, transform=augment, step=step)
    for a, b in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("fits", ["two classes", "one image"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"distance": "cosine"},
        {"augment_real": "independent", "augment_synthetic": "independent"},
        {"augment_real": "none", "augment_synthetic": "none"},
        {"network": replace(SMALL, norm="batch")},
    ],
)
def test_gradient_matching_in_chunks_is_that_of_the_whole(monkeypatch, fits, changes):
    data = blobs(classes=5)
    settings = replace(TINY, **changes)
    whole = Matcher(data, settings, seed=0)
    assert (whole.max_images >= 3, len(whole.class_chunks)) == (True, 1)
    image = matching_bytes(whole.network, data.shape)
    weights = sum(p.nbytes for p in whole.matched.values())
    bytes_that_fit = {"two classes": 2 * (3 * image + 6 * weights), "one image": image}[fits]
    monkeypatch.setattr(chunking, "CPU_BYTES", bytes_that_fit)
    cut = Matcher(data, settings, seed=0)
    assert len(cut.class_chunks) == {"two classes": 3, "one image": 5}[fits]
    assert (cut.max_images == 1) == (fits == "one image")
    images = whole.initial_images()
    for matcher in (whole, cut):
        # One set of weights for both: that of the whole, drawn by the first.
        matcher.network.load_state_dict(
            build(settings.network, data.shape, 5, generator(7)).state_dict()
        )
        calibrate(matcher.network, data, generator(8))
    (gradient, distance), (ours, value) = (m.match(images, generator(3)) for m in (whole, cut))
    assert gradient.abs().max() > 0
    torch.testing.assert_close(ours, gradient, atol=1e-4 * float(gradient.abs().max()), rtol=0)
    torch.testing.assert_close(value, distance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", ["dsa", "dm", "idm"])
def test_condensed_sets_are_the_same_in_chunks(monkeypatch, method):
    data = blobs(classes=5)
    changes = {
        "dsa": {"iterations": 2, "outer_loop": 2},
        "dm": {"iterations": 3},
        "idm": {"iterations": 3, "net_num": 2, "net_steps": 3},
    }[method]
    settings = method_named(method).preset("paper", ipc=2, batch_real=8, network=SMALL, **changes)
    whole = condense(data, method, settings).images
    monkeypatch.setattr(chunking, "CPU_BYTES", 1)
    torch.testing.assert_close(condense(data, method, settings).images, whole, atol=2e-4, rtol=0)


def test_evaluation_in_chunks_is_the_same(data, monkeypatch):
    from condense.evaluation import evaluate

    small = condense(data, "random", ipc=2)
    settings = Evaluation(num_eval=2, epoch_eval_train=5, lr=0.05, network=SMALL)
    whole = evaluate(small, data, settings).values
    monkeypatch.setattr(chunking, "CPU_BYTES", 1)
    assert evaluate(small, data, settings).values == pytest.approx(whole, abs=1.01 / 30)


PEAK = """
    import os
    from pathlib import Path
    import torch
    from condense.training import chunking
    from condense.data.image_data import ImageData
    from condense.methods.gradient_matching import Matcher
    from condense.seeds import generator
    from condense.config.methods import GradientMatching
    from condense.config.network import Network

    def peak():
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))

    def growth(classes, ipc, fits):
        chunking.CPU_BYTES = chunking.CHUNK_BYTES = fits << 20
        labels = torch.arange(classes).repeat(max(4, ipc))
        pixels = torch.zeros(len(labels), 1, 32, 32, dtype=torch.uint8)
        names = tuple(map(str, range(classes)))
        data = ImageData("noise", pixels, labels, pixels, labels, (0.5,), (0.3,), names)
        settings = GradientMatching(ipc, Network(width=16, depth=2), init="noise", batch_real=4)
        matcher = Matcher(data, settings, seed=0)
        images = matcher.initial_images()
        before = peak()
        matcher.match(images, generator(0))
        return peak() - before

    torch.set_num_threads(1)
    for case in ((2, 4, 48), (80, 4, 48), (2, 160, 48), (80, 4, 4096)):
        if os.fork() == 0:  # a process for each, as a peak stays
            print(growth(*case), flush=True)
            os._exit(0)
        os.wait()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_classes_nor_with_images_per_class():
    few, classes, images, unbounded = map(int, python(PEAK).stdout.split())
    assert unbounded > few + 250
    assert classes < few + 100
    assert images < few + 100
