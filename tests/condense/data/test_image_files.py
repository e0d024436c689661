"""Image files as pixels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condense.data.image_files import Fit, check_size, opened, pixels_of, readable_suffixes
from condense.errors import UserError


def halves(width: int, height: int) -> Image.Image:
    """Black on the left, white on the right."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[:, width // 2 :] = 255
    return Image.fromarray(pixels)


def test_the_middle_is_cropped_or_the_whole_is_resized() -> None:
    wide = halves(64, 16)
    wide.paste(128, (0, 0, 16, 16))  # outside of the square in the middle
    cropped = pixels_of(wide, 16)
    assert cropped.shape == (16, 16, 1)
    assert set(cropped.flatten().tolist()) == {0, 255}
    resized = pixels_of(wide, 16, "resize")
    assert resized[8, [0, 6, 15], 0].tolist() == [128, 0, 255]


@pytest.mark.parametrize("fit", ["crop", "resize"])
def test_all_pixels_count_when_an_image_gets_smaller(fit: Fit) -> None:
    chequered = Image.fromarray(np.indices((32, 32)).sum(0).astype(np.uint8) % 2 * 255)
    found = pixels_of(chequered, 8, fit)[1:-1, 1:-1]
    assert np.abs(found.astype(int) - 127).max() <= 1


def test_a_photo_is_the_same_however_large_its_file_is(tmp_path: Path) -> None:
    """JPEG files are decoded at a fraction of their size."""
    found = []
    for scale in (1, 16):
        halves(48 * scale, 48 * scale).convert("RGB").save(tmp_path / "1.jpg", quality=95)
        with opened(tmp_path / "1.jpg") as image:
            found.append(pixels_of(image, 48).astype(int))
    assert np.abs(found[0] - found[1])[:, [*range(20), *range(28, 48)]].max() <= 2


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparent_parts_become_white(alpha: int) -> None:
    def on_white(value: int) -> int:
        return round((value * alpha + 255 * (255 - alpha)) / 255)

    image = Image.new("RGBA", (8, 8), (10, 20, 30, alpha))
    assert pixels_of(image)[0, 0].tolist() == [on_white(value) for value in (10, 20, 30)]
    for grey in range(256):
        image = Image.new("LA", (8, 8), (grey, alpha))
        assert pixels_of(image)[0, 0].tolist() == [on_white(grey)]


def test_a_drawing_in_the_alpha_channel_is_seen() -> None:
    drawing = Image.new("RGBA", (8, 8))  # black, transparent
    drawing.putpixel((3, 4), (0, 0, 0, 255))
    pixels = pixels_of(drawing)
    assert (pixels[4, 3] == 0).all()
    assert (pixels == 255).sum() == pixels.size - 3


def test_palettes_and_deep_images() -> None:
    assert pixels_of(Image.new("RGB", (8, 8)).convert("P"), 16).shape == (16, 16, 3)
    with pytest.raises(UserError, match="mode I;16; 8 bits per channel"):
        pixels_of(Image.new("I;16", (8, 8)))


def test_what_pillow_only_writes_or_recognises_is_no_image() -> None:
    assert {".png", ".jpg", ".jpeg", ".webp", ".tif", ".gif"} <= readable_suffixes()
    assert readable_suffixes().isdisjoint({".pdf", ".mpg", ".h5", ".wmf"})


def test_sizes_that_will_not_do() -> None:
    for size in (7, -1, 64.5, "64"):
        with pytest.raises(UserError, match=f"size must be .* of at least 8, not {size}"):
            check_size(size, "crop")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown fit 'pad'; known: "):
        check_size(8, "pad")


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    colours = np.arange(4, dtype=np.uint8).reshape(2, 2)
    image = Image.fromarray(colours, "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    image.save(tmp_path / "palette.png", transparency=bytes([0, 100, 255, 255]))
    with warnings.catch_warnings(), opened(tmp_path / "palette.png") as found:
        warnings.simplefilter("error")
        pixels = pixels_of(found)
    assert pixels[..., 0].tolist() == [[255, 171], [70, 100]]
