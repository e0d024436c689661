"""Figure 5 of the paper, norms of gradients without and with DSA: `python -m benchmarks.figure5`.

Condenses ten images per class by DSA and by DC, which is the same without augmentation, and follows
one more network initialisation, k = K, along the steps t of its inner loop: the norms of the
gradients ∇_θ L(𝒯) of real images and ∇_θ L(𝒮) of synthetic ones, class by class, as they are
matched (§5.1). As in matching, the gradients are those of weights, without biases and norm scales.
Their mean, least and largest over the classes are results/figure5.csv, and drawn in figure5.png.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.condensations import Condensations, about, kept_at, load_images
from benchmarks.pictures import write
from benchmarks.rows import Row, write_rows
from condense.command_line import main, read_flags
from condense.methods import method_named
from condense.recorded import departures

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from condense.data import ImageData
    from condense.matching import Gradients
    from condense.methods.gradient_matching import Matcher

PROG = "python -m benchmarks.figure5"
METHODS = {"dc": "without DSA", "dsa": "with DSA"}
SIDES = ("real", "synthetic")


@dataclass(frozen=True)
class Figure5(Condensations):
    """Measure how large the gradients are that are matched, with and without DSA."""


class Magnitudes:
    """Stands in for the distance of a matcher, and keeps the norms of the gradients it is given.

    Attributes:
        real, synthetic: for each step [classes].
    """

    def __init__(self, matcher: Matcher) -> None:
        self.real: list[Tensor] = []
        self.synthetic: list[Tensor] = []
        self._distance = matcher.distance
        matcher.distance = self

    def __call__(self, synthetic: Gradients, real: Gradients) -> Tensor:
        """The distance, as without it."""
        self.synthetic.append(norms(synthetic))
        self.real.append(norms(real))
        return self._distance(synthetic, real)


def norms(gradients: Gradients) -> Tensor:
    """The Euclidean norm of each class's gradient, over all weights: [classes]."""
    import torch

    flat = [gradient.detach().flatten(1) for gradient in gradients.values()]
    lengths: Tensor = torch.linalg.vector_norm(torch.cat(flat, 1), dim=1)
    return lengths


def follow(matcher: Matcher, images: Tensor, velocity: Tensor, k: int) -> Magnitudes:
    """What the gradients are in the k-th outer iteration, which moves `images`.

    Args:
        matcher: of the condensation; it is of no use afterwards.
        images: [classes, ipc, c, h, w], normalised, as the iterations before have left them.
        velocity: their momentum, of the same shape.
        k: the number of the iteration.
    """
    found = Magnitudes(matcher)
    matcher.outer_iteration(images, velocity, k)
    return found


def measure(settings: Figure5, data: ImageData, method: str) -> list[Row]:
    """Condense by a method, or go on with what is kept; a row for each step of what follows."""
    from condense.journal import FileJournal, Progress
    from condense.methods.gradient_matching import Matcher, condense_by_gradient_matching

    matching = method_named(method).preset(settings.preset)
    path = kept_at(settings, data, method, matching)
    with FileJournal(path, show=Progress(f"condensing by {method}")) as journal:
        condense_by_gradient_matching(data, matching, settings.seed, journal)
        journal.flush()
        reached = journal.restore()
    assert reached is not None
    images, velocity = (reached.tensors[name].to(data.device) for name in ("images", "velocity"))
    matcher = Matcher(data, matching, settings.seed)
    found = follow(matcher, images, velocity, matching.outer)
    changed = {"method": method, "departures": json.dumps(departures(matching))}
    return [
        {"condensed": METHODS[method], "k": matching.outer, "t": t, **spread(found, t), **changed}
        for t in range(len(found.real))
    ]


def spread(found: Magnitudes, t: int) -> Row:
    """Mean, least and largest over the classes at a step."""
    row = {}
    for side in SIDES:
        values: Tensor = getattr(found, side)[t]
        for name, value in (("mean", values.mean()), ("min", values.min()), ("max", values.max())):
            row[f"{side}_{name}"] = f"{float(value):.6g}"
    return row


def draw(rows: Sequence[Row], path: Path) -> None:
    """Mean and range over the classes at each step, without and with DSA."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.2), layout="constrained")
    plots = figure.subplots(1, len(METHODS), sharey=True)
    for plot, condensed in zip(plots, METHODS.values(), strict=True):
        mine = [row for row in rows if row["condensed"] == condensed]
        steps = [row["t"] for row in mine]
        for side in SIDES:
            mean, low, high = (
                [float(row[f"{side}_{name}"]) for row in mine] for name in ("mean", "min", "max")
            )
            plot.plot(steps, mean, marker="o", label=f"{side} images")
            plot.fill_between(steps, low, high, alpha=0.2)
        plot.set_title(condensed)
        plot.set_xlabel(f"step of the inner loop at k = {mine[0]['k']}")
        plot.set_xticks(steps)
        plot.set_yscale("log")
        plot.grid(alpha=0.3)
    plots[0].set_ylabel("norm of the gradient")
    plots[0].legend(loc="lower left")
    write(figure, path)


def run(argv: list[str]) -> None:
    """Measure, keep, draw."""
    settings = read_flags(Figure5, argv, PROG)
    data = load_images(settings)
    measured = about(settings, data, PROG, argv)
    rows = [{**row, **measured} for method in METHODS for row in measure(settings, data, method)]
    write_rows(settings.results / "figure5.csv", rows)
    draw(rows, settings.results / "figure5.png")
    for row in rows:
        print(f"{row['condensed']}, t = {row['t']}: real {row['real_mean']}", end=", ")
        print(f"synthetic {row['synthetic_mean']}")


if __name__ == "__main__":
    main(run)
