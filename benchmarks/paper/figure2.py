"""Figure 2 of the paper, condensed images: `python -m benchmarks.paper.figure2 [SET …]`.

Draws results/figure2.png with one row per class. The file's `Description` contains the provenance
of each set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from benchmarks.rows import RESULTS
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.runs.plots import new_figure, save
from condense.runs.run_dir import CONDENSED

if TYPE_CHECKING:
    from condense.condensed_set import CondensedSet


@dataclass(frozen=True)
class Figure2:
    """Draw condensed sets side by side."""

    sets: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of finished runs, or condensed sets; by default the zoo's DSA sets with ten images
    per class."""
    out: Path = RESULTS / "figure2.png"
    """Path of the figure."""


def load(paths: Sequence[Path]) -> list[CondensedSet]:
    """The sets of these runs or files; without paths, the zoo's DSA sets.

    Raises:
        UserError: a file cannot be read, or is not a condensed set.
    """
    from condense.condensed_set import CondensedSet
    from condense.zoo import load_named, zoo_names

    if not paths:
        return [load_named(name) for name in zoo_names() if name.endswith("-dsa-10")]
    return [CondensedSet.load(path / CONDENSED if path.is_dir() else path) for path in paths]


def title(about: dict[str, Any]) -> str:
    """Data set, method, and the test accuracy of new networks trained on the set, if known."""
    name = f"{about.get('dataset', '')} {about.get('method', '')}".strip()
    accuracy = about.get("accuracy")
    return name if accuracy is None else f"{name}, {100 * accuracy:.1f} %"


def plot(sets: Sequence[CondensedSet], path: Path) -> None:
    """Plot all sets side by side."""
    figure = new_figure(4.5 * len(sets), 4.8, dpi=200)
    for axes, condensed in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
        picture = condensed.grid()
        row = picture.height / condensed.classes
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axes.set_title(title(condensed.provenance))
        axes.set_xticks([])
        axes.set_yticks([(index + 0.5) * row for index in range(condensed.classes)])
        axes.set_yticklabels(condensed.class_names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    save(figure, path, [condensed.provenance for condensed in sets])


def run(argv: list[str]) -> None:
    """Plot the sets."""
    settings = read_flags(Figure2, argv, "python -m benchmarks.paper.figure2")
    plot(load(settings.sets), settings.out)
    print(settings.out)


if __name__ == "__main__":
    main(run)
