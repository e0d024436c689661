"""Table 4 of the paper, which side is augmented and how: `python -m benchmarks.paper.table4`.

The paper uses CIFAR-10, 10 images per class. (A) is gradient matching without augmentation; the
others augment the real images, the synthetic images, or the training images of the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.paper.cells import Cell, Cells, main

OPERATIONS = ("crop", "flip", "scale", "rotate")
SCHEMES: dict[str, tuple[tuple[str, str, str], tuple[float, ...], tuple[float, ...]]] = {
    "ours": (("siamese", "siamese", "independent"), (49.1, 47.9, 46.9, 46.8), (0.6, 0.7, 0.5, 0.6)),
    "A": (("none", "none", "none"), (45.5, 45.5, 45.5, 45.5), (0.6, 0.6, 0.6, 0.6)),
    "B": (("none", "none", "independent"), (46.9, 46.1, 45.7, 45.0), (0.6, 0.6, 0.5, 0.5)),
    "C": (("independent", "none", "independent"), (42.8, 46.2, 44.5, 44.5), (0.7, 0.6, 0.6, 0.6)),
    "D": (("none", "independent", "independent"), (44.6, 46.8, 45.4, 45.9), (0.7, 0.6, 0.6, 0.7)),
    "E": (("siamese", "siamese", "none"), (43.4, 46.4, 45.7, 46.3), (0.5, 0.6, 0.6, 0.5)),
    "F": (
        ("independent", "independent", "independent"),
        (44.5, 46.9, 45.7, 45.8),
        (0.5, 0.6, 0.5, 0.5),
    ),
}
"""By scheme: the augmentation of the real images, of the synthetic images and in the test; the
paper's mean accuracy and standard deviation for each operation."""


@dataclass(frozen=True)
class Table4(Cells):
    """Test accuracy by augmentation scheme."""

    dataset: tuple[str, ...] = ("cifar10",)
    """cifar10 (as in the paper) or fashionmnist (for machines without a GPU)."""
    scheme: tuple[str, ...] = ()
    """ours A B C D E F."""
    operation: tuple[str, ...] = ()
    """crop flip scale rotate."""


def cells() -> Iterator[Cell]:
    """All cells, row by row."""
    for dataset in ("cifar10", "fashionmnist"):
        for scheme, (augmentations, means, spreads) in SCHEMES.items():
            for operation, mean, spread in zip(OPERATIONS, means, spreads, strict=True):
                real, synthetic, test = augmentations
                axes = {"dataset": dataset, "scheme": scheme, "operation": operation}
                flags = ["--method", "dsa"]
                flags += ["--augment-real", real, "--augment-synthetic", synthetic]
                flags += ["--evaluation.augment", test]
                if real != "none" or synthetic != "none":  # (A) and (B) use the same condensed set
                    flags += ["--dsa-strategy", operation]
                if test != "none":
                    flags += ["--evaluation.dsa-strategy", operation]
                paper = (mean, spread) if dataset == "cifar10" else None
                yield Cell(axes, flags, paper, dataset=dataset)


if __name__ == "__main__":
    main("table4", Table4, cells())
