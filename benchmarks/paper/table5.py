"""Table 5 of the paper, augmentation strategies: `python -m benchmarks.paper.table5`.

10 images per class. `none` is gradient matching without augmentation, initialised from real images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.paper.cells import (
    Cell,
    Cells,
    Figure,
    main,
)

STRATEGIES = ("none", "color", "crop", "cutout", "flip", "scale", "rotate", "combination")
PAPER: dict[str, tuple[Figure | None, ...]] = {
    "mnist": (
        (96.4, 0.1), (96.5, 0.1), (97.2, 0.1), (96.5, 0.1), None, (97.2, 0.1), (97.2, 0.1),
        (97.8, 0.1),
    ),
    "fashionmnist": (
        (82.5, 0.3), (82.9, 0.3), (83.3, 0.3), (84.0, 0.3), (83.1, 0.2), (84.0, 0.4), (83.1, 0.3),
        (84.6, 0.3),
    ),
    "svhn": (
        (76.7, 0.6), (77.4, 0.5), (75.9, 0.8), (73.1, 0.6), None, (78.0, 0.5), (77.4, 0.4),
        (79.2, 0.5),
    ),
    "cifar10": (
        (45.5, 0.6), (47.6, 0.5), (49.1, 0.6), (48.1, 0.5), (47.9, 0.7), (46.9, 0.5), (46.8, 0.6),
        (52.1, 0.5),
    ),
}  # fmt: skip
"""By data set, for each strategy; None where a flip changes the meaning of an image."""


@dataclass(frozen=True)
class Table5(Cells):
    """Test accuracy by augmentation strategy."""

    dataset: tuple[str, ...] = ()
    """mnist fashionmnist svhn cifar10; by default all."""
    dsa_strategy: tuple[str, ...] = ()
    """none color crop cutout flip scale rotate combination."""


def flags_of(strategy: str) -> list[str]:
    """The flags to condense and test with a strategy; the combination is the default."""
    if strategy == "none":
        names = ("--augment-real", "--augment-synthetic", "--evaluation.augment")
        return [word for name in names for word in (name, "none")]
    if strategy == "combination":
        return []
    return ["--dsa-strategy", strategy, "--evaluation.dsa-strategy", strategy]


def cells() -> Iterator[Cell]:
    """All cells, row by row."""
    for dataset, papers in PAPER.items():
        for strategy, paper in zip(STRATEGIES, papers, strict=True):
            if paper is not None:
                axes = {"dataset": dataset, "dsa_strategy": strategy}
                yield Cell(axes, ["--method", "dsa", *flags_of(strategy)], paper, dataset=dataset)


if __name__ == "__main__":
    main("table5", Table5, cells())
