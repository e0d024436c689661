from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from condense.config.methods import Coreset
from condense.data.loading import load
from condense.errors import UserError
from condense.seeds import generator
from condense.storage.capacity import codec_of
from condense.storage.dct import Dct, Spectrum
from condense.storage.ycbcr import to_ycbcr

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def smooth(count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Normalised images whose low frequencies are the largest, as in pictures."""
    noise = torch.randn(count, channels, height, width, generator=generator(seed, "smooth"))
    return noise.cumsum(2).cumsum(3) / math.sqrt(height * width)


def fitted(images: torch.Tensor, image_bytes: int | None = None) -> Dct:
    channels, height, width = images.shape[1:]
    parts = images.split(7)
    spectrum = Spectrum.of(parts, STD[:channels])
    return Dct.fit(
        spectrum, (channels, height, width), MEAN[:channels], STD[:channels], image_bytes
    )


class WithoutFloat64(torch.Tensor):
    """As a tensor on mps, where float64 raises a TypeError."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        found = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(found, cls) and found.dtype == torch.float64:
            raise TypeError("the MPS framework doesn't support float64")
        return found


def test_the_statistics_need_no_float64_on_the_device() -> None:
    parts = smooth(30, 3, 8, 8).split(7)
    fake = [part.as_subclass(WithoutFloat64) for part in parts]
    with pytest.raises(TypeError, match="float64"):
        fake[0].double()
    found, expected = Spectrum.of(fake, STD), Spectrum.of(parts, STD)
    assert type(found.mean) is torch.Tensor
    assert torch.equal(found.mean, expected.mean)
    assert torch.equal(found.variance, expected.variance)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (3, 7, 10)])
def test_planes_are_the_coefficients_of_scipy(shape: tuple[int, int, int]) -> None:
    images = smooth(30, *shape)
    codec = fitted(images, 20)
    pictures = to_ycbcr(images * codec.std) if shape[0] == 3 else images
    expected = torch.from_numpy(dctn(pictures.numpy(), axes=(2, 3), norm="ortho")).flatten(1)
    expected = expected[:, codec.kept.index]
    (plane,) = codec.encode(images)
    assert plane.shape == (30, *codec.planes[0])
    mean, std = codec.kept.mean, codec.kept.std
    torch.testing.assert_close(plane[:, :, 0, 0] * std + mean, expected, atol=1e-4, rtol=1e-4)


def test_coefficients_have_about_mean_0_and_standard_deviation_1() -> None:
    """But for the rounding of the statistics in the table."""
    images = smooth(200, 3, 8, 8)
    (plane,) = fitted(images, 30).encode(images)
    mean, std = plane.mean(0), plane.std(0, unbiased=False)
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=0.034, rtol=0)
    torch.testing.assert_close(std, torch.ones_like(std), atol=0.045, rtol=0)


def test_the_table_is_a_bit_per_coefficient_three_bytes_per_stored_one_and_the_variance() -> None:
    codec = fitted(smooth(50, 3, 8, 8), 30)
    assert codec.table_bytes == 192 // 8 + 3 * len(codec.kept.index) + 4
    grey = smooth(50, 1, 8, 8)
    variance = float(grey.var(0, correction=0).sum())
    assert float(fitted(grey, 3).kept.variance) == pytest.approx(variance, rel=1e-4)


def test_more_bytes_lose_less() -> None:
    images, errors = smooth(50, 3, 8, 8), []
    for image_bytes in (2, 8, 32, 128, 192):
        codec = fitted(images, image_bytes)
        assert codec.bytes_per_image <= image_bytes
        errors.append(float((codec.decode(codec.encode(images)) - images).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * errors[0]


def test_a_smaller_codec_loses_about_as_much_as_one_of_that_size() -> None:
    images = smooth(80, 3, 8, 8)
    large = fitted(images, 60)
    stored = large.decode(large.encode(images))

    def lost(codec: Dct, source: torch.Tensor) -> float:
        return float((codec.decode(codec.encode(source)) - images).square().mean())

    small = large.smaller(20)
    assert small.bytes_per_image <= 20 < large.bytes_per_image
    assert lost(small, stored) < 1.3 * lost(fitted(images, 20), images)
    assert large.smaller(60) is large
    least = small.smaller(1)  # no more than a tenth is lost
    assert least.bytes_per_image > 1
    assert least.smaller(1) is least


def test_without_a_size_a_tenth_of_the_variance_is_lost() -> None:
    """On real images; real coefficients deviate a little from a Laplace distribution."""
    data = load("digits")
    codec = codec_of(data, Coreset(storage="dct"))
    images = data.normalise(data.x_train)
    lost = (codec.decode(codec.encode(images)) - images).square().sum()
    share = float(lost / (images - images.mean(0)).square().sum())
    assert 0.06 < share < 0.12
    smaller = codec_of(data, Coreset(storage="dct", image_bytes=codec.bytes_per_image - 1))
    assert smaller.bytes_per_image == codec.bytes_per_image - 1


def test_what_is_the_same_in_all_images_is_kept() -> None:
    """A frame of high frequencies, such as a watermark, has no variance."""
    frame = 3 * (2 * torch.eye(16) - 1) * (-1) ** torch.arange(16)
    images = smooth(40, 1, 16, 16) + frame
    codec = fitted(images)
    lost = codec.decode(codec.encode(images)) - images
    variance = (images - images.mean(0)).square().sum()
    assert float(lost.square().sum() / variance) < 0.2
    assert lost.mean(0).square().mean() < 0.01 * frame.square().mean()


def test_a_smaller_codec_keeps_what_is_the_same_in_all_images() -> None:
    frame = 3 * (2 * torch.eye(16) - 1) * (-1) ** torch.arange(16)
    images = smooth(40, 1, 16, 16) + frame
    codec = fitted(images, 60).smaller(30)
    assert codec.bytes_per_image == 30
    lost = codec.decode(codec.encode(images)) - images
    assert lost.mean(0).square().mean() < 0.001 * frame.square().mean()


def test_one_image_is_stored() -> None:
    image = smooth(1, 3, 8, 8)
    codec = fitted(image)
    lost = codec.decode(codec.encode(image)) - image
    assert lost.square().sum() < 0.02 * image.square().sum()


def test_stored_planes_are_the_rounded_ones() -> None:
    images = smooth(5, 3, 8, 8)
    codec = fitted(images, 24)
    planes = codec.encode(images)
    packed = codec.pack(planes)
    assert packed["coefficients"].shape == (5, codec.bytes_per_image)
    assert codec.table_bytes == sum(
        tensor.nbytes for name, tensor in packed.items() if name != "coefficients"
    )
    stored = codec.unpack(packed)
    assert torch.equal(codec.decode(stored), codec.decode(planes))
    assert torch.equal(codec.pack(stored)["coefficients"], packed["coefficients"])


def test_the_gradient_is_that_of_the_inverse_transform() -> None:
    """Straight-through: as if coefficients were not rounded. The transform is orthonormal, so for
    grey images the gradient of a coefficient is its coefficient of the gradient of the image."""
    images = smooth(4, 1, 8, 8)
    codec = fitted(images, 20)
    (plane,) = codec.encode(images)
    plane.requires_grad_()
    weights = torch.randn(4, 1, 8, 8, generator=generator(1))
    (found,) = torch.autograd.grad((codec.decode([plane]) * weights).sum(), plane)
    coefficients = torch.from_numpy(dctn(weights.numpy(), axes=(2, 3), norm="ortho")).flatten(1)
    expected = coefficients[:, codec.kept.index] * codec.kept.std
    torch.testing.assert_close(found[:, :, 0, 0], expected, atol=1e-5, rtol=1e-4)


@given(
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([1, 3]),
    st.one_of(st.none(), st.integers(1, 500)),
    st.booleans(),
)
def test_any_images_are_stored(
    height: int, width: int, channels: int, image_bytes: int | None, constant: bool
) -> None:
    images = smooth(3, channels, height, width)
    if constant:
        images = images[:1].expand(3, -1, -1, -1)
    codec = fitted(images, image_bytes)
    planes = codec.unpack(codec.pack(codec.encode(images)))
    assert codec.decode(planes).isfinite().all()
    assert codec.decode(planes).shape == images.shape


def test_a_factor_is_refused() -> None:
    with pytest.raises(UserError, match="factor must be 1 with storage dct"):
        Coreset(storage="dct", factor=2)
