"""Folders of images as people have them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(root: Path, classes: Sequence[str] = ("cat", "dog"), per_class: int = 6) -> Path:
    """ROOT/CLASS/N.jpg: photos of several sizes, the brighter the later their class."""
    draws = np.random.default_rng(0)
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for photo in range(per_class):
            noise = draws.integers(0, 60, (20 + photo, 24, 3)) + 100 * number
            Image.fromarray(noise.astype(np.uint8)).save(root / name / f"{photo}.jpg")
    return root
