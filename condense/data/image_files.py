"""Image files as pixels: rotation, colour, size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from condense.data.image_arrays import SMALLEST_SIDE, Array
from condense.errors import UserError, one_line, unknown
from condense.runs.io import is_file

Fit = Literal["crop", "resize"]
"""How images become square: the square in the middle, or the whole image with its sides changed."""

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB")
WITHOUT_DECODER = {"BUFR", "GRIB", "HDF5", "MPEG", "WMF"}
"""Formats that Pillow recognises and cannot read."""
ORIENTATION = 0x0112
"""EXIF tag of the rotation of a photo; from 5 on width and height are exchanged."""


def check_size(size: int | None, fit: str) -> None:
    """Check the size of images and how they get it.

    Raises:
        UserError: the images would be too small, or there is no such `fit`.
    """
    if size is not None and not (isinstance(size, Integral) and size >= SMALLEST_SIDE):
        raise UserError(f"size must be a whole number of at least {SMALLEST_SIDE}, not {size}")
    if fit not in get_args(Fit):
        raise unknown("fit", fit, get_args(Fit))


def readable_suffixes() -> frozenset[str]:
    """The suffixes of image files that Pillow can read, in lower case."""
    known = Image.registered_extensions()
    return frozenset(
        suffix
        for suffix, kind in known.items()
        if kind in Image.OPEN and kind not in WITHOUT_DECODER
    )


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An open image with size and mode; the pixels are read on demand.

    Raises:
        UserError: it is not an image that can be read.
    """
    if not is_file(path):  # opening a pipe would block
        raise UserError(f"{path}: not a readable image (no file)")
    try:
        with Image.open(path) as image:
            yield image
    except UserError as problem:
        raise UserError(f"{path}: {problem}") from None
    # Pillow's decoders raise many types of exceptions.
    except Exception as reason:
        raise UserError(f"{path}: not a readable image ({one_line(reason)})") from reason


def size_of(image: Image.Image) -> tuple[int, int]:
    """Width and height after the rotation that the photo's EXIF data ask for."""
    width, height = image.size
    return (height, width) if image.getexif().get(ORIENTATION, 1) >= 5 else (width, height)


def channels_of(image: Image.Image) -> int:
    """1 for a grey image, else 3; transparency is not counted.

    Raises:
        UserError: it has more than 8 bits per channel.
    """
    if image.mode in GREY_MODES:
        return 1
    if image.mode in COLOUR_MODES:
        return 3
    raise UserError(f"pixels of mode {image.mode}; 8 bits per channel are expected")


def _opaque(image: Image.Image) -> Image.Image:
    """The image on white: what is hidden below transparent parts is arbitrary, often black."""
    if not image.has_transparency_data:
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))


def pixels_of(
    image: Image.Image, size: int | None = None, fit: Fit = "crop", draft: bool = False
) -> Array:
    """The pixels as uint8 [h, w, channels], rotated as the photo's EXIF data ask for.

    Args:
        image: grey or colour; transparent parts become white.
        size: side of the result; None: the size of the image.
        fit: crop: the square in the middle, resized. resize: the whole image, whose sides change
            their ratio. Both are bilinear with antialiasing.
        draft: decode a photo at a fraction of its size, which is faster; `image` stays so small.

    Raises:
        UserError: it has more than 8 bits per channel.
    """
    mode = "L" if channels_of(image) == 1 else "RGB"
    if draft and size is not None:
        image.draft(None, (2 * size, 2 * size))
    upright = _opaque(ImageOps.exif_transpose(image)).convert(mode)
    if size is not None and upright.size != (size, size):
        bilinear = Image.Resampling.BILINEAR
        if fit == "crop":
            upright = ImageOps.fit(upright, (size, size), bilinear)
        else:
            upright = upright.resize((size, size), bilinear)
    pixels = np.array(upright)
    return pixels[..., None] if pixels.ndim == 2 else pixels
