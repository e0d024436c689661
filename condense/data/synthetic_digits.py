"""Rendered images of house numbers: digits of many fonts on cluttered backgrounds.

Similar to SVHN: a crop around one digit of a number, with parts of neighbouring digits, rotated and
sheared, with uneven lighting, blur and noise. Images are computed in batches, as float32 with
pixels in 0..1; all random numbers come from the generator in the arguments.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, grid_sample, interpolate

from condense.errors import UserError

SIDE = 32
OVERSAMPLING = 2
CELL = 64  # side of a glyph in the atlas, in pixels
DIGIT_HEIGHT = 40.0  # height of a digit in the atlas, in pixels
BLUR_REACH = 4
CHUNK = 500  # images rendered at a time, to bound memory

TYPEFACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
    *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmtt10", "cmti10"),
)


@dataclass(frozen=True, eq=False)
class Atlas:
    """Every digit in every font: coverage `[typefaces, 10, CELL, CELL]` in 0..1, and the advance
    width of each, `[typefaces, 10]` in pixels of the atlas.
    """

    glyphs: Tensor
    advances: Tensor


def render(labels: Tensor, generator: Generator) -> Tensor:
    """Render images uint8 `[n, 3, 32, 32]` of the digits `labels` `[n]`.

    Raises:
        UserError: a font of matplotlib cannot be read.
    """
    return torch.cat([_render(chunk, generator) for chunk in torch.split(labels, CHUNK)])


def _render(labels: Tensor, generator: Generator) -> Tensor:
    n = len(labels)
    wall = _uniform(n, 0.1, 0.9, generator)
    background = (_colour(wall, generator) + _clutter(n, generator)).clamp(0, 1)
    ink = _colour(_contrasting(wall, generator), generator)
    number = _number(labels, generator)
    picture = _shadowed(background, number, generator).lerp(ink, number)
    picture = picture * _light(n, generator)
    picture = _blurred(picture, _uniform(n, 0.4, 1.6, generator))
    noise = torch.randn(picture.shape, generator=generator)
    picture = picture + noise * _uniform(n, 0.0, 0.03, generator)
    return (picture * 255).round().clamp(0, 255).to(torch.uint8)


@cache
def atlas() -> Atlas:
    """The glyphs of all digits; rendered once per process."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    glyphs = np.zeros((len(TYPEFACES), 10, CELL, CELL), dtype=np.float32)
    advances = torch.zeros(len(TYPEFACES), 10)
    for row, typeface in enumerate(TYPEFACES):
        font = _sized(folder / f"{typeface}.ttf")
        for digit in range(10):
            image = Image.new("L", (CELL, CELL))
            draw = ImageDraw.Draw(image)
            left, top, right, bottom = draw.textbbox((0, 0), str(digit), font=font)
            corner = ((CELL - left - right) / 2, (CELL - top - bottom) / 2)
            draw.text(corner, str(digit), fill=255, font=font)
            glyphs[row, digit] = np.asarray(image, dtype=np.float32) / 255
            advances[row, digit] = font.getlength(str(digit))
    return Atlas(torch.from_numpy(glyphs), advances)


def _sized(path: Path) -> ImageFont.FreeTypeFont:
    """The font at the size at which digits are `DIGIT_HEIGHT` pixels high."""
    try:
        _, top, _, bottom = ImageFont.truetype(path, 100).getbbox("0")
        return ImageFont.truetype(path, 100 * DIGIT_HEIGHT / (bottom - top))
    except OSError as reason:
        raise UserError(f"{path}: cannot be read ({reason}); reinstall matplotlib") from reason


def _number(labels: Tensor, generator: Generator) -> Tensor:
    """Coverage of each pixel by the number, `[n, 1, SIDE, SIDE]`; the middle digit is the label,
    and neighbouring digits, if any, have the same font.
    """
    n, drawn = len(labels), atlas()
    face = torch.randint(len(TYPEFACES), (n,), generator=generator)
    height = _uniform(n, 17.0, 30.0, generator)
    stretch = _uniform(n, 0.65, 1.1, generator)
    spacing = _uniform(n, 0.98, 1.25, generator)
    places = _slanted(n, generator) / (height / DIGIT_HEIGHT)
    places[:, :1] /= stretch
    cover = _glyphs(drawn.glyphs[face, labels], places)
    for side in (-1, 1):
        digit = torch.randint(10, (n,), generator=generator)
        there = (torch.rand(n, generator=generator) < 0.6).float().view(n, 1, 1, 1)
        advance = (drawn.advances[face, labels] + drawn.advances[face, digit]).view(n, 1, 1) / 2
        moved = places.clone()
        moved[:, 0] -= side * advance * spacing.view(n, 1, 1)
        cover = torch.maximum(cover, there * _glyphs(drawn.glyphs[face, digit], moved))
    return avg_pool2d(cover, OVERSAMPLING)


def _slanted(n: int, generator: Generator) -> Tensor:
    """Position of each subpixel of the image in the coordinates of the number (pixels, origin in
    its middle), `[n, 2, side, side]`: rotated, sheared and shifted.
    """
    side = SIDE * OVERSAMPLING
    line = ((torch.arange(side) + 0.5) / OVERSAMPLING - SIDE / 2).expand(side, side)
    x = line - _uniform(n, -2.5, 2.5, generator).view(n, 1, 1)
    y = line.T - _uniform(n, -2.0, 2.0, generator).view(n, 1, 1)
    angle = _uniform(n, -12.0, 12.0, generator).view(n, 1, 1) * (math.pi / 180)
    shear = _uniform(n, -0.2, 0.2, generator).view(n, 1, 1)
    along = angle.cos() * x + angle.sin() * y
    across = angle.cos() * y - angle.sin() * x
    return torch.stack([along + shear * across, across], dim=1)


def _glyphs(glyphs: Tensor, places: Tensor) -> Tensor:
    """Coverage `[n, 1, h, w]` of glyphs `[n, CELL, CELL]` sampled at `places` `[n, 2, h, w]`."""
    grid = (places / (CELL / 2)).permute(0, 2, 3, 1)
    return grid_sample(glyphs[:, None], grid, mode="bilinear", align_corners=False)


def _clutter(n: int, generator: Generator) -> Tensor:
    """Offsets to the colour of the background, `[n, 3, SIDE, SIDE]`: low-frequency noise at two
    scales, and up to two edges.
    """
    total = torch.zeros(n, 3, SIDE, SIDE)
    for cells, strength in ((3, 0.12), (8, 0.06)):
        stains = torch.randn(n, 3, cells, cells, generator=generator) * 0.15
        stains += torch.randn(n, 1, cells, cells, generator=generator)
        stains = interpolate(stains, (SIDE, SIDE), mode="bicubic")
        total += stains * _uniform(n, 0.0, strength, generator)
    for _ in range(2):
        there = (torch.rand(n, 1, 1, 1, generator=generator) < 0.45).float()
        distance = _ramp(n, generator) * (SIDE / 2) - _uniform(n, -14.0, 14.0, generator)
        change = torch.randn(n, 3, 1, 1, generator=generator) * 0.05
        change += torch.randn(n, 1, 1, 1, generator=generator) * 0.17
        total += there * change * torch.sigmoid(distance * _uniform(n, 1.0, 4.0, generator))
    return total


def _shadowed(background: Tensor, number: Tensor, generator: Generator) -> Tensor:
    """The background with a shadow of the number, one or two pixels away."""
    n = len(number)
    depth = _uniform(n, -0.6, 0.6, generator).clamp(min=0)
    line = torch.linspace(-1, 1, SIDE)
    here = torch.stack(torch.meshgrid(line, line, indexing="xy"), dim=-1)
    away = torch.rand(n, 1, 1, 2, generator=generator) * 0.24 - 0.12
    return background * (1 - depth * grid_sample(number, here + away, align_corners=True))


def _light(n: int, generator: Generator) -> Tensor:
    """Lighting with a linear gradient, `[n, 1, SIDE, SIDE]`, around 1."""
    return 1 + _ramp(n, generator) * _uniform(n, 0.0, 0.3, generator)


def _ramp(n: int, generator: Generator) -> Tensor:
    """A linear ramp in a random direction, `[n, 1, SIDE, SIDE]`, zero in the middle and about ±1
    at the borders.
    """
    line = torch.linspace(-1, 1, SIDE).expand(SIDE, SIDE)
    angle = _uniform(n, 0.0, 2 * math.pi, generator)
    return angle.cos() * line + angle.sin() * line.T


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Each image blurred by its own Gaussian, sigma `[n, 1, 1, 1]` in pixels."""
    offsets = torch.arange(-BLUR_REACH, BLUR_REACH + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights = weights / weights.sum(dim=3, keepdim=True)
    for axis in (2, 3):
        before, after = images.narrow(axis, 0, 1), images.narrow(axis, SIDE - 1, 1)
        edges = [[edge] * BLUR_REACH for edge in (before, after)]
        padded = torch.cat([*edges[0], images, *edges[1]], dim=axis)
        images = sum(
            (weights[..., k : k + 1] * padded.narrow(axis, k, SIDE) for k in range(len(offsets))),
            torch.zeros(()),
        )
    return images


def _contrasting(wall: Tensor, generator: Generator) -> Tensor:
    """A grey value at least 0.18 lighter or darker than the wall, where the range allows it."""
    contrast = _uniform(len(wall), 0.18, 0.75, generator)
    lighter = torch.rand(wall.shape, generator=generator) < 0.5
    lighter = torch.where(lighter, wall + contrast <= 1, wall - contrast < 0)
    return torch.where(lighter, wall + contrast, wall - contrast).clamp(0, 1)


def _colour(grey: Tensor, generator: Generator) -> Tensor:
    """Grey values `[n, 1, 1, 1]` as colours `[n, 3, 1, 1]`: mostly low saturation, and more
    between blue and orange than between green and purple.
    """
    vividness = torch.rand(grey.shape, generator=generator) ** 3 * 0.35
    warm, green = torch.randn(2, len(grey), 1, 1, 1, generator=generator)
    tinge = torch.cat([warm - 0.3 * green, 0.4 * green, -warm - 0.3 * green], dim=1)
    return (grey + tinge * vividness).clamp(0, 1)


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    """Uniform random numbers `[n, 1, 1, 1]` between `low` and `high`."""
    return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low
