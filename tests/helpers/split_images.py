"""A stand-in for a data set of ten classes: a few images of each, in an archive of its name."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_images(root: Path, name: str, shape: tuple[int, ...], per_class: int = 16) -> None:
    """ROOT/NAME.npz with noisy images [n, *shape], the darker the lower their class."""
    draws = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", per_class), ("test", 4)):
        labels = np.tile(np.arange(10), count)
        noise = draws.integers(0, 40, (len(labels), *shape))
        shade = 20 * labels.reshape(-1, *[1] * len(shape))
        arrays |= {f"x_{split}": (noise + shade).astype(np.uint8), f"y_{split}": labels}
    root.mkdir(parents=True, exist_ok=True)
    np.savez(root / f"{name}.npz", **arrays)
