from __future__ import annotations

import pytest
import torch

from condense.api import condense
from condense.config.methods import DistributionMatching, GradientMatching
from condense.config.network import Network
from condense.errors import UserError
from condense.methods.optimisation import optimise_images, synthetic_images
from condense.methods.synthetic import SyntheticImages
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from tests.helpers.images import blobs
from tests.helpers.methods import assert_resumes, same_sets

NETWORK = Network(width=4)


def step(synthetic: SyntheticImages, gradient: torch.Tensor, lr: float) -> None:
    """A step of all images."""
    synthetic.step(synthetic.sample(None, generator(0)), gradient, lr)


STORAGES = [("float32", 1), ("pixels", 2), ("ycbcr420", 2), ("dct", 1)]


@pytest.mark.parametrize(("storage", "factor"), STORAGES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_step_is_that_of_autograd(storage: str, factor: int, optimizer: str) -> None:
    """The images move as if the loss were differentiated with respect to the planes."""
    data = blobs(shape=(3, 8, 8))
    settings = DistributionMatching(2, storage=storage, factor=factor, optimizer=optimizer)
    start = torch.randn(3, 2, 3, 8, 8, generator=generator(0))
    ours = synthetic_images(data, settings, start)
    target = torch.randn(3, 2, 3, 8, 8, generator=generator(1))
    planes = [plane.detach().clone().requires_grad_() for plane in ours.planes]
    if optimizer == "adam":
        plain = torch.optim.Adam(planes, lr=0.1, betas=(0.9, 0.99))
    else:
        plain = torch.optim.SGD(planes, lr=0.1, momentum=0.5)
    for _ in range(3):
        step(ours, 2 * (ours.images() - target), lr=0.1)
        decoded = ours.codec.decode([plane.flatten(0, 1) for plane in planes])
        loss = (decoded - target.flatten(0, 1)).square().sum()
        plain.zero_grad()
        loss.backward()
        plain.step()
    for plane, expected in zip(ours.planes, planes, strict=True):
        torch.testing.assert_close(plane, expected, atol=1e-5, rtol=1e-5)


def test_whole_floats_move_by_the_published_update() -> None:
    data, settings = blobs(), DistributionMatching(2)
    start = torch.randn(3, 2, 1, 8, 8, generator=generator(0))
    synthetic, velocity, images = synthetic_images(data, settings, start), 0.0, start.clone()
    for number in range(3):
        gradient = torch.randn(start.shape, generator=generator(number))
        step(synthetic, gradient, lr=0.3)
        velocity = 0.5 * velocity + gradient
        images = images - 0.3 * velocity
    torch.testing.assert_close(synthetic.images(), images)


def test_a_restored_state_goes_on_with_the_same_bits() -> None:
    data = blobs(shape=(3, 8, 8))
    settings = DistributionMatching(2, storage="ycbcr420", factor=2, optimizer="adam")
    start = torch.randn(3, 2, 3, 8, 8, generator=generator(0))
    first, second = (synthetic_images(data, settings, start * s) for s in (1, 0))
    step(first, start, 0.1)
    second.restore(Checkpoint({name: t.clone() for name, t in first.state().items()}))
    for synthetic in (first, second):
        step(synthetic, start * 2, 0.1)
    assert torch.equal(first.images(), second.images())


def test_coefficients_that_diverge_in_the_last_step_are_one_line() -> None:
    """Rounded to levels they would look finite."""
    settings = DistributionMatching(2, iterations=1, storage="dct", image_bytes=20)

    def diverge(images: SyntheticImages, k: int) -> float:
        images.planes[0].data[0, 0] = torch.nan
        return 0.0

    with pytest.raises(UserError, match="diverged at iteration 1"):
        optimise_images(blobs(shape=(3, 16, 16)), settings, 0, Checkpointer(), diverge)


@pytest.mark.parametrize(("storage", "factor"), STORAGES)
@pytest.mark.parametrize("method", ["dsa", "dm"])
def test_a_resumed_run_gives_the_same_set(method: str, storage: str, factor: int) -> None:
    data = blobs(shape=(3, 16, 16))
    rest = {"storage": storage, "factor": factor, "optimizer": "adam", "network": NETWORK}
    kind = GradientMatching if method == "dsa" else DistributionMatching
    loops = {"outer_loop": 2, "inner_loop": 1} if method == "dsa" else {}
    size = {"image_bytes": 20} if storage == "dct" else {}
    settings = kind(2, iterations=3, batch_real=4, lr_img=0.02, **rest, **size, **loops)
    assert_resumes(data, method, settings, stop_at=2)
    assert not same_sets(condense(data, method, settings), condense(data, "random", ipc=2))


@pytest.mark.parametrize(("storage", "factor"), STORAGES)
def test_a_step_of_a_sample_is_one_of_all_images_with_no_gradient_elsewhere(
    storage: str, factor: int
) -> None:
    data = blobs(shape=(3, 16, 16))
    size = {"image_bytes": 20} if storage == "dct" else {}
    settings = DistributionMatching(6, storage=storage, factor=factor, optimizer="adam", **size)
    start = torch.randn(3, 6, 3, 16, 16, generator=generator(0))
    some, all_images = (synthetic_images(data, settings, start) for _ in range(2))
    before = some.images().clone()
    for number in range(2):  # the second step has the momentum of images that are not in its sample
        sample, whole = some.sample(4, generator(number)), some.images()
        chosen = sample.spread(torch.ones(3, 4), 6).bool()
        assert chosen.sum(1).tolist() == [4, 4, 4]
        torch.testing.assert_close(sample.spread(sample.images, 6)[chosen], whole[chosen])
        assert torch.equal(sample.of(chosen), torch.ones(3, 4, dtype=torch.bool))
        gradient = torch.randn(sample.images.shape, generator=generator(number, "gradient"))
        some.step(sample, gradient, 0.1)
        step(all_images, sample.spread(gradient, 6), 0.1)
    assert not torch.equal(some.images(), before)
    torch.testing.assert_close(some.planes, all_images.planes, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [None, 2, 3])
def test_a_sample_of_all_images_draws_nothing(size: int | None) -> None:
    draws = generator(0)
    synthetic = synthetic_images(blobs(), DistributionMatching(2), torch.rand(3, 2, 1, 8, 8))
    sample = synthetic.sample(size, draws)
    assert torch.equal(sample.images, synthetic.images())
    assert torch.equal(draws.get_state(), generator(0).get_state())
