from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.errors import UserError
from condense.seeds import generator
from condense.storage.pixels import PixelCodec, Pixels, YCbCr420
from condense.storage.registry import PIXEL_CODECS, pixel_codec
from condense.storage.ycbcr import YCBCR, YCBCR_STD, from_ycbcr, to_ycbcr

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(0, "images"))


@pytest.mark.parametrize("name", PIXEL_CODECS)
@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("size", [(32, 32), (17, 23)])
def test_planes_have_their_shapes(name: str, factor: int, size: tuple[int, int]) -> None:
    made = pixel_codec(name, (3, *size), MEAN, STD, factor)
    planes = made.encode(images(5, 3, *size))
    assert [tuple(plane.shape[1:]) for plane in planes] == list(made.planes)
    assert made.bytes_per_image == sum(plane[0].numel() for plane in planes)
    assert made.decode(planes).shape == (5, 3, *size)


def test_numbers_by_hand() -> None:
    assert pixel_codec("pixels", (3, 32, 32), MEAN, STD).bytes_per_image == 3072
    assert pixel_codec("pixels", (3, 32, 32), MEAN, STD, 2).bytes_per_image == 768
    assert pixel_codec("ycbcr420", (3, 32, 32), MEAN, STD, 2).bytes_per_image == 256 + 2 * 64
    assert pixel_codec("ycbcr420", (3, 10, 10), MEAN, STD, 3).bytes_per_image == 9 + 2 * 4


def test_whole_pixels_are_the_images_themselves() -> None:
    made, given_images = Pixels((3, 8, 8), MEAN, STD), images(2, 3, 8, 8)
    assert torch.equal(made.decode(made.encode(given_images)), given_images)


def test_a_colour_by_hand() -> None:
    """One red image, normalised: luma 0.299, Cr 0.5."""
    red = torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    made = YCbCr420((3, 8, 8), MEAN, STD, 2)
    luma, chroma = made.encode((red - mean) / std)
    torch.testing.assert_close(luma * YCBCR_STD, torch.full((1, 1, 4, 4), 0.299))
    expected = YCBCR[1:, 0].view(1, 2, 1, 1).expand(1, 2, 2, 2)
    torch.testing.assert_close(chroma * YCBCR_STD, expected)
    torch.testing.assert_close(made.decode([luma, chroma]), (red - mean) / std, atol=1e-5, rtol=0)


def test_luma_and_chroma_are_those_of_jpeg() -> None:
    """In quarters: files have these numbers, so that another version must read the same colours."""
    colours = torch.eye(3).view(3, 3, 1, 1)
    expected = torch.tensor(
        [[0.299, -0.1687, 0.5], [0.587, -0.3313, -0.4187], [0.114, 0.5, -0.0813]]
    )
    found = to_ycbcr(colours).flatten(1)
    torch.testing.assert_close(found / 4, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(from_ycbcr(to_ycbcr(colours)), colours)


@pytest.mark.parametrize("name", PIXEL_CODECS)
def test_a_uniform_image_is_kept(name: str) -> None:
    flat = torch.tensor([0.3, -0.2, 0.9]).view(1, 3, 1, 1).expand(1, 3, 12, 12)
    made = pixel_codec(name, (3, 12, 12), MEAN, STD, 3)
    torch.testing.assert_close(made.decode(made.encode(flat)), flat, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", PIXEL_CODECS)
def test_decoding_is_affine_and_its_gradient_is_right(name: str) -> None:
    made = pixel_codec(name, (3, 6, 6), MEAN, STD, 2)
    planes = [plane.double().requires_grad_() for plane in made.encode(images(2, 3, 6, 6))]
    assert torch.autograd.gradcheck(lambda *each: made.decode(each), planes)
    first, second = planes, [plane * 3 + 1 for plane in planes]
    halfway = [(a + b) / 2 for a, b in zip(first, second, strict=True)]
    torch.testing.assert_close(made.decode(halfway), (made.decode(first) + made.decode(second)) / 2)


@given(
    st.sampled_from(sorted(PIXEL_CODECS)), st.integers(1, 40), st.integers(1, 40), st.integers(1, 9)
)
def test_any_size_is_stored_or_refused(name: str, height: int, width: int, factor: int) -> None:
    if factor > min(height, width):
        with pytest.raises(UserError, match=f"{factor} times smaller"):
            pixel_codec(name, (3, height, width), MEAN, STD, factor)
        return
    made: PixelCodec = pixel_codec(name, (3, height, width), MEAN, STD, factor)
    assert made.decode(made.encode(images(1, 3, height, width))).isfinite().all()
    assert made.bytes_per_image == sum(map(math.prod, made.planes))


def test_grey_images_have_no_chroma() -> None:
    assert isinstance(pixel_codec("ycbcr420", (1, 8, 8), (0.5,), (0.2,)), Pixels)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(UserError, match="'jpeg'"):
        pixel_codec("jpeg", (3, 8, 8), MEAN, STD)
