"""The images of a set, class by class, as a report shows them."""

from __future__ import annotations

import math

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from condense.condensed_set import CondensedSet
from condense.data.image_tensors import resize
from condense.pictures import as_picture
from condense.runs.html_report import Strips

COLUMNS = 12
CLASSES = 100
"""Images of a class and classes that are shown at most."""
_HIGHEST = 64
MOST_NUMBERS = 2_000_000
"""Pixel values in all strips of a report, at most."""


def strips(condensed: CondensedSet, most: int = MOST_NUMBERS) -> Strips:
    """A row of images for each class, with its name; images are shown at most 64 pixels high.

    Args:
        condensed: the set.
        most: numbers in all strips together, about: fewer images are shown of large sets.
    """
    channels, height, width = condensed.shape
    shrink = min(1.0, _HIGHEST / height)
    size = max(1, round(height * shrink)), max(1, round(width * shrink))
    names = condensed.class_names[:CLASSES]
    fitting = most // (len(names) * channels * math.prod(size))
    columns = max(1, min(COLUMNS, fitting))
    labels = condensed.hard_labels
    rows = [condensed.images[labels == label][:columns] for label in range(len(names))]
    shown = "all images" if sum(map(len, rows)) == len(labels) else _shown(condensed, columns)
    caption = f"{len(labels)} images of {condensed.classes} classes, {condensed.bytes} bytes; "
    made = [(name, _strip(resize(row, size))) for name, row in zip(names, rows, strict=True)]
    return Strips(made, caption + shown)


def _shown(condensed: CondensedSet, columns: int) -> str:
    """Which images the strips show."""
    each = f"the first {columns} of each class" if columns > 1 else "the first of each class"
    return each + (f", of the first {CLASSES} classes" if condensed.classes > CLASSES else "")


def _strip(images: Tensor) -> Image.Image:
    """Images [n, c, h, w] in a row, with a white line around each."""
    framed = [pad(image, (0, 1, 1, 1), value=1) for image in images]
    return as_picture(pad(torch.cat(framed, dim=2), (1, 0), value=1))
