"""Figure 2 of the paper, condensed images themselves: `python -m benchmarks.figure2 [SET …]`.

A row for each class. Draws results/figure2.png, whose `Description` says how each set was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from benchmarks.pictures import write
from benchmarks.rows import RESULTS
from condense.command_line import main, read_flags

if TYPE_CHECKING:
    from condense.condensed_set import CondensedSet

FILE = "condensed.safetensors"


@dataclass(frozen=True)
class Figure2:
    """Draw condensed sets side by side."""

    sets: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of finished runs, or condensed sets; by default the zoo's that DSA has made, of ten
    images per class."""
    out: Path = RESULTS / "figure2.png"
    """The picture."""


def load(paths: Sequence[Path]) -> list[CondensedSet]:
    """The sets of these runs or files, else those of the zoo.

    Raises:
        UserError: one of them cannot be read, or is no condensed set.
    """
    from condense.condensed_set import CondensedSet
    from condense.zoo import load_named, zoo_names

    if not paths:
        return [load_named(name) for name in zoo_names() if name.endswith("-dsa-10")]
    return [CondensedSet.load(path / FILE if path.is_dir() else path) for path in paths]


def title(about: dict[str, Any]) -> str:
    """What a set is of, and what fresh networks that learnt from it alone reached."""
    name = f"{about.get('dataset', '')} {about.get('method', '')}".strip()
    accuracy = about.get("accuracy")
    return name if accuracy is None else f"{name}, {100 * accuracy:.1f} %"


def draw(sets: Sequence[CondensedSet], path: Path) -> None:
    """All sets in a row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(sets), 4.8), dpi=200, layout="constrained")
    for plot, condensed in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        picture = condensed.grid()
        row = picture.height / condensed.classes
        plot.imshow(picture, cmap="gray", vmin=0, vmax=255)
        plot.set_title(title(condensed.provenance))
        plot.set_xticks([])
        plot.set_yticks([(index + 0.5) * row for index in range(condensed.classes)])
        plot.set_yticklabels(condensed.class_names)
        plot.tick_params(length=0)
        plot.spines[:].set_visible(False)
    write(figure, path, [condensed.provenance for condensed in sets])


def run(argv: list[str]) -> None:
    """Draw the sets."""
    settings = read_flags(Figure2, argv, "python -m benchmarks.figure2")
    draw(load(settings.sets), settings.out)
    print(settings.out)


if __name__ == "__main__":
    main(run)
