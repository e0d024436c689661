"""Table 2 of the paper, CIFAR-100: `python -m benchmarks.paper.table2`. Its LD uses AlexNet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.paper.cells import (
    Cell,
    Cells,
    Figure,
    main,
)
from benchmarks.paper.table1 import ELSEWHERE, NOTES, flags_of

PAPER: dict[int, dict[str, Figure | None]] = {
    1: {
        "random": (4.2, 0.3), "herding": (8.4, 0.3), "ld": (11.5, 0.4),
        "dc": (12.8, 0.3), "dsa": (13.9, 0.3),
    },
    10: {
        "random": (14.6, 0.5), "herding": (17.3, 0.3), "ld": None,
        "dc": (25.2, 0.3), "dsa": (32.3, 0.3),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Table2(Cells):
    """Test accuracy of networks trained on condensed sets of CIFAR-100."""

    ipc: tuple[int, ...] = ()
    """Images per class: 1 10."""
    method: tuple[str, ...] = ()
    """random herding ld dc dsa."""


def cells() -> Iterator[Cell]:
    """All cells, in the paper's order."""
    for ipc, papers in PAPER.items():
        for method, paper in papers.items():
            axes: dict[str, str | int] = {"ipc": ipc, "method": method}
            flags, fair = flags_of("cifar100", method, ipc), method not in ELSEWHERE
            drawn = method == "random"
            note = NOTES.get(method, "")
            yield Cell(
                axes, flags, paper, dataset="cifar100", comparable=fair, drawn=drawn, note=note
            )


if __name__ == "__main__":
    main("table2", Table2, cells())
