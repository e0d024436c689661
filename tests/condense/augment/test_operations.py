"""Each operation against a reference version that goes image by image and pixel by pixel."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from condense.augment.operations import NUMBERS, OPERATIONS, sample_by_gathering
from condense.augment.params import (
    AugmentParams,
    augment_batch,
    augment_batches,
    check_strategy,
    default_strategy,
    sample_params,
)
from condense.errors import UserError
from condense.seeds import generator


def pixel(image, channel, row, column):
    _, height, width = image.shape
    inside = 0 <= row < height and 0 <= column < width
    return image[channel, row, column].item() if inside else 0.0


def bilinear(image, channel, y, x):
    top, left = math.floor(y), math.floor(x)
    return sum(
        pixel(image, channel, top + i, left + j) * (1 - abs(y - top - i)) * (1 - abs(x - left - j))
        for i in (0, 1)
        for j in (0, 1)
    )


def warp(image, source):
    """Each output pixel at centred coordinates (x, y) takes the value at source(x, y)."""
    out = torch.zeros_like(image)
    channels, height, width = image.shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                x, y = source(j - (width - 1) / 2, i - (height - 1) / 2)
                out[c, i, j] = bilinear(image, c, y + (height - 1) / 2, x + (width - 1) / 2)
    return out


def reference_color(image, u):
    image = image + (u[0] - 0.5) * 1.0
    grey = image.mean(0, keepdim=True)
    image = (image - grey) * (2 * u[1]) + grey
    mean = image.mean()
    return (image - mean) * (u[2] + 0.5) + mean


def reference_crop(image, u):
    channels, height, width = image.shape
    reach_y, reach_x = round(0.125 * height), round(0.125 * width)
    dx = math.floor(u[0] * (2 * reach_x + 1)) - reach_x
    dy = math.floor(u[1] * (2 * reach_y + 1)) - reach_y
    out = torch.zeros_like(image)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                out[c, i, j] = pixel(image, c, i + dy, j + dx)
    return out


def reference_cutout(image, u):
    out = image.clone()
    _, height, width = image.shape
    for side, number, axis in ((height, u[0], 1), (width, u[1], 2)):
        assert side % 4 == 0  # so that half a side is even
        centre = math.floor(number * (side + 1))
        inside = [centre - side // 4 <= i < centre + side // 4 for i in range(side)]
        mask = torch.tensor(inside)
        rows = mask[:, None] if axis == 1 else rows & mask[None, :]  # noqa: F821
    out[:, rows] = 0
    return out


def reference_flip(image, u):
    return image.flip(2) if u[0] < 0.5 else image


def reference_scale(image, u):
    fx, fy = (1 / 1.2 + (1.2 - 1 / 1.2) * number for number in u[:2])
    return warp(image, lambda x, y: (fx * x, fy * y))


def reference_rotate(image, u):
    angle = math.radians(15) * (2 * u[0] - 1)
    cos, sin = math.cos(angle), math.sin(angle)
    return warp(image, lambda x, y: (cos * x - sin * y, sin * x + cos * y))


REFERENCE = {
    "color": reference_color,
    "crop": reference_crop,
    "cutout": reference_cutout,
    "flip": reference_flip,
    "scale": reference_scale,
    "rotate": reference_rotate,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 16, 16)])
def test_operation_is_its_reference_implementation(name, shape):
    draws = generator(0, name, *shape)
    images = torch.randn(4, *shape, generator=draws)
    numbers = torch.rand(4, NUMBERS, generator=draws)
    expected = torch.stack(
        [REFERENCE[name](image, u.tolist()) for image, u in zip(images, numbers, strict=True)]
    )
    torch.testing.assert_close(OPERATIONS[name](images, numbers), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", OPERATIONS)
def test_one_shared_row_is_that_row_for_each_image(name):
    images = torch.randn(5, 3, 16, 16, generator=generator(1))
    numbers = torch.rand(1, NUMBERS, generator=generator(2))
    shared = OPERATIONS[name](images, numbers)
    repeated = OPERATIONS[name](images, numbers.repeat(5, 1))
    torch.testing.assert_close(shared, repeated)


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_flow_to_the_images(name):
    images = torch.rand(2, 3, 8, 8, dtype=torch.float64, generator=generator(1))
    images.requires_grad_()
    numbers = torch.tensor([[0.3, 0.6, 0.9]])
    if name not in ("crop", "scale", "rotate"):
        numbers = numbers.double()
        assert torch.autograd.gradcheck(lambda x: OPERATIONS[name](x, numbers), images)
    OPERATIONS[name](images.float(), numbers.float()).square().sum().backward()
    assert images.grad.abs().sum() > 0


@given(st.integers(0, 10_000), st.sampled_from(sorted(OPERATIONS)))
def test_every_draw_keeps_the_shape_and_stays_finite(seed, name):
    images = torch.randn(3, 1, 9, 13, generator=generator(seed))
    out = augment_batch(images, (name,), generator(seed, "draw"))
    assert out.shape == images.shape
    assert out.isfinite().all()


def test_siamese_parameters_are_shared():
    omega = sample_params(("crop", "rotate", "color"), generator(3), groups=4)
    real = torch.randn(4, 1, 1, 16, 16, generator=generator(4)).expand(4, 7, 1, 16, 16)
    synthetic = real[:, :2]
    for many, few in zip(omega.apply(real), omega.apply(synthetic), strict=True):
        torch.testing.assert_close(many[:2], few, rtol=0, atol=0)


def test_independent_draw_differs_between_images_but_not_in_its_operation():
    image = torch.randn(1, 3, 16, 16, generator=generator(5)).expand(8, 3, 16, 16)
    out = augment_batch(image, ("rotate",), generator(6))
    assert len({tuple(one.flatten().tolist()) for one in out}) == 8


def test_operations_are_drawn_uniformly():
    strategy = default_strategy(hflip=True)
    drawn = sample_params(strategy, generator(7), groups=6000).operations
    for name in strategy:
        assert 850 < drawn.count(name) < 1150


def test_half_of_the_images_are_flipped():
    omega = sample_params(("flip",), generator(8), images=2000)
    assert 900 < int((omega.numbers[0, :, 0] < 0.5).sum()) < 1100


def test_digits_are_not_flipped():
    assert "flip" not in default_strategy(hflip=False)
    assert len(default_strategy(hflip=True)) == 6


def test_unknown_operation_names_the_nearest():
    with pytest.raises(UserError, match=r"'rotat'; known: rotate"):
        check_strategy(("rotat",))
    with pytest.raises(UserError, match="one or more"):
        check_strategy(())
    with pytest.raises(UserError, match=r"tuple of names, .* not the text 'color_crop'"):
        check_strategy("color_crop")


@pytest.mark.parametrize("strategy", [("color", "colour"), "color_crop", "color", ()])
def test_every_draw_checks_the_whole_strategy(strategy):
    images = torch.rand(1, 2, 1, 8, 8)
    for seed in range(4):
        draws = generator(seed)
        with pytest.raises(UserError, match="augmentation"):
            sample_params(strategy, draws)
        with pytest.raises(UserError, match="augmentation"):
            augment_batch(images[0], strategy, draws)
        with pytest.raises(UserError, match="augmentation"):
            augment_batches(images, [draws], strategy)


def test_draws_are_compared_by_identity():
    one, other = (sample_params(("crop",), generator(0), images=2) for _ in range(2))
    assert one == one
    assert one != other


@pytest.mark.parametrize("name", ["scale", "rotate"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 14)])
def test_sampling_by_gathering_is_pytorchs(name, shape, monkeypatch):
    images = torch.randn(6, *shape, generator=generator(0, name), requires_grad=True)
    numbers = torch.rand(6, NUMBERS, generator=generator(1))
    toward = torch.randn(6, *shape, generator=generator(2))
    theirs = OPERATIONS[name](images, numbers)
    monkeypatch.setattr(
        F, "grid_sample", lambda images, grid, **_: sample_by_gathering(images, grid)
    )
    ours = OPERATIONS[name](images, numbers)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
    gradients = [torch.autograd.grad((made * toward).sum(), images)[0] for made in (ours, theirs)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=0)


def test_a_draw_for_some_of_the_groups():
    whole = sample_params(tuple(OPERATIONS), generator(0), groups=5, images=2)
    images = torch.randn(5, 2, 3, 8, 8, generator=generator(1))
    parts = [made for k in (0, 2, 4) for made in whole[k : k + 2].apply(images[k : k + 2])]
    assert len(parts) == 5
    assert all(torch.equal(a, b) for a, b in zip(parts, whole.apply(images), strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", OPERATIONS)
def test_images_of_fewer_bits_are_augmented_with_the_same_numbers(name, dtype):
    draws = generator(0, name)
    images = torch.rand(4, 3, 16, 16, generator=draws).to(dtype)
    numbers = torch.tensor([0.9999, 1 - 2**-24, 0.5001, 0.49999]).view(1, 4, 1).repeat(1, 1, 3)
    params = AugmentParams((name,), numbers)
    (made,) = params.apply([images])
    assert made.dtype == dtype
    assert torch.equal(made, params.apply([images.float()])[0].to(dtype))


@pytest.mark.parametrize("shared", [False, True])
def test_batches_of_fewer_bits_are_augmented_with_the_same_numbers(shared):
    batches = torch.rand(40, 8, 1, 16, 16, generator=generator(0)).bfloat16()

    def augmented(batches):
        draws = [generator(1, index) for index in range(len(batches))]
        return augment_batches(batches, draws, tuple(OPERATIONS), shared=shared)

    assert torch.equal(augmented(batches), augmented(batches.float()).bfloat16())
