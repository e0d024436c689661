"""The image files of a folder as one array of pixels."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from condense.data.image_arrays import SMALLEST_SIDE, Array, check_sides
from condense.data.image_files import Fit, channels_of, opened, pixels_of, size_of
from condense.errors import UserError
from condense.runs.checkpointer import Checkpointer
from condense.system.memory import check_memory

USUAL_SIZES = (64, 32, 16)
"""Of these the largest that is no larger than most images is proposed to the user."""
CHUNK = 16  # files that a thread opens in one go

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class FolderImages:
    """Image files, and how they become pixels.

    Attributes:
        path: the folder, for messages.
        files: the image files, in the order of the array.
        size: side of the images in pixels; None: that of the files, which must have one size.
        fit: how they get this size, see `image_files.pixels_of`.
    """

    path: Path
    files: Sequence[Path]
    size: int | None
    fit: Fit

    def decode(self, progress: Checkpointer) -> Array:
        """The pixels, uint8 [n, h, w, c]. The images are grey if all of them are, else RGB.

        Args:
            progress: receives reports, in files. Each is opened twice, for its shape and then for
                its pixels, and counts half each time.

        Raises:
            UserError: an image cannot be read, sizes differ, or there is not enough memory.
        """
        count = len(self.files)
        # PyTorch's number of threads, so that the user sets one number for all.
        with warnings.catch_warnings(), ThreadPoolExecutor(torch.get_num_threads()) as pool:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            headers = _each(
                pool, self._header, count, lambda done: progress.report(done // 2, count)
            )
            shape = self._common_shape(headers)
            self.check_fits((count, *shape))
            pixels = np.empty((count, *shape), dtype=np.uint8)

            def fill(number: int) -> None:
                with opened(self.files[number]) as image:
                    # Grey is repeated.
                    pixels[number] = pixels_of(image, self.size, self.fit, draft=True)

            _each(pool, fill, count, lambda done: progress.report((count + done) // 2, count))
        return pixels

    def check_fits(self, shape: tuple[int, ...]) -> None:
        """Check that there is memory for an array of pixels of this shape.

        Raises:
            UserError: there is not.
        """
        # Twice, because the axes of the images are permuted afterwards.
        check_memory(2 * math.prod(shape), f"{self.path}: it")

    def _header(self, number: int) -> tuple[int, int, int]:
        """Width, height and channels of an image."""
        with opened(self.files[number]) as image:
            return (*size_of(image), channels_of(image))

    def _common_shape(self, headers: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
        """Height, width and channels of all images.

        Raises:
            UserError: `size` is None, and sizes differ or are too small.
        """
        channels = max(header[2] for header in headers)
        if self.size is not None:
            return self.size, self.size, channels
        sizes = sorted({header[:2] for header in headers}, key=math.prod)
        if len(sizes) > 1:
            common = statistics.median(min(header[:2]) for header in headers)
            proposed = next((usual for usual in USUAL_SIZES if usual <= common), USUAL_SIZES[-1])
            small, large = (f"{width}×{height}" for width, height in (sizes[0], sizes[-1]))
            raise UserError(
                f"{self.path}: images of {len(sizes)} sizes, {small} to {large}: add --size "
                f"{proposed} to make all {proposed}×{proposed} (in Python size={proposed})"
            )
        width, height = sizes[0]
        larger = f": add --size {SMALLEST_SIDE} (in Python size={SMALLEST_SIDE})"
        check_sides(f"{self.path}:", height, width, larger)
        return height, width, channels


def _each(
    pool: ThreadPoolExecutor,
    function: Callable[[int], ResultT],
    count: int,
    report: Callable[[int], None],
) -> list[ResultT]:
    """`function` of 0, 1, …, count - 1; the first error in this order ends it."""

    def chunk(start: int) -> list[ResultT]:
        return [function(number) for number in range(start, min(start + CHUNK, count))]

    found: list[ResultT] = []
    # After an error `map` cancels what was not begun.
    for part in pool.map(chunk, range(0, count, CHUNK)):
        found += part
        report(len(found))
    return found
