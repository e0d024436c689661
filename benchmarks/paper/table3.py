"""Table 3 of the paper, cross-architecture transfer: `python -m benchmarks.paper.table3`.

MNIST, one image per class. One set is condensed per architecture; the tests with the other
architectures read it from the cache.
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

ARCHITECTURES = ("mlp", "convnet", "lenet", "alexnet", "vgg11", "resnet18")
PAPER: dict[str, tuple[Figure, ...]] = {
    "mlp": ((76.5, 1.2), (73.1, 3.6), (80.4, 2.9), (78.2, 6.4), (58.7, 6.5), (78.7, 3.9)),
    "convnet": ((75.6, 1.1), (88.8, 0.8), (84.8, 1.5), (84.7, 1.5), (83.5, 1.7), (89.3, 0.8)),
    "lenet": ((76.5, 0.9), (86.6, 1.5), (83.9, 1.6), (83.9, 1.2), (81.1, 2.3), (88.2, 0.9)),
    "alexnet": ((76.1, 0.8), (87.6, 0.8), (84.2, 1.6), (84.6, 1.7), (82.0, 2.1), (88.8, 0.8)),
    "vgg11": ((75.8, 1.0), (88.9, 0.7), (84.5, 1.6), (85.0, 1.4), (83.2, 1.9), (88.9, 1.0)),
    "resnet18": ((75.8, 1.0), (88.6, 0.8), (84.8, 1.7), (84.8, 1.2), (82.4, 1.9), (89.5, 1.0)),
}


@dataclass(frozen=True)
class Table3(Cells):
    """Test accuracy of one architecture trained on a set condensed with another."""

    condensed_on: tuple[str, ...] = ()
    """mlp convnet lenet alexnet vgg11 resnet18; by default all."""
    tested_on: tuple[str, ...] = ()
    """Same choices as --condensed-on; by default all."""


def cells() -> Iterator[Cell]:
    """All cells, row by row."""
    for condensed, papers in PAPER.items():
        for tested, paper in zip(ARCHITECTURES, papers, strict=True):
            axes = {"condensed_on": condensed, "tested_on": tested}
            flags = ["--method", "dsa", "--ipc", "1", "--architecture", condensed]
            flags += ["--evaluation.network.architecture", tested]
            yield Cell(axes, flags, paper, dataset="mnist")


if __name__ == "__main__":
    main("table3", Table3, cells())
