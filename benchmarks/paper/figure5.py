"""Figure 5 of the paper, norms of gradients without and with DSA.

Command: `python -m benchmarks.paper.figure5`.

Condenses ten images per class with DSA and with DC, which is DSA without augmentation. Then runs
one more outer iteration, k = K, and records at each step t of its inner loop the norms of the
matched gradients, per class (§5.1): ∇_θ L(𝒯) of real images and ∇_θ L(𝒮) of synthetic images. As in
matching, only weights count, without biases and norm scales. Mean, minimum and maximum over the
classes are written to results/figure5.csv and drawn in figure5.png.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.condensations import Condensations, about, kept_at, load_images
from benchmarks.rows import Row, write_rows
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.config.serialization import overrides
from condense.methods.registry import method_named
from condense.runs.plots import new_figure, save

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from condense.data.image_data import ImageData
    from condense.gradients.distances import Gradients
    from condense.methods.gradient_matching import Matcher
    from condense.methods.synthetic import SyntheticImages

PROG = "python -m benchmarks.paper.figure5"
METHODS = {"dc": "without DSA", "dsa": "with DSA"}
IMAGES = ("real", "synthetic")


@dataclass(frozen=True)
class Figure5(Condensations):
    """Measure the norms of the matched gradients, with and without DSA."""


class Norms(NamedTuple):
    """Norms of gradients, [classes] for each step."""

    real: list[Tensor]
    synthetic: list[Tensor]


class Magnitudes:
    """Wraps the distance of a matcher and records the norms of the gradients.

    Attributes:
        real, synthetic: the norms of each step, one tensor for each chunk of classes.
    """

    def __init__(self, matcher: Matcher) -> None:
        self.real: list[Tensor] = []
        self.synthetic: list[Tensor] = []
        self._distance = matcher.distance
        matcher.distance = self

    def __call__(self, synthetic: Gradients, real: Gradients) -> Tensor:
        """The unchanged distance."""
        self.synthetic.append(norms(synthetic))
        self.real.append(norms(real))
        return self._distance(synthetic, real)


def norms(gradients: Gradients) -> Tensor:
    """The Euclidean norm of each class's gradient, over all weights: [classes]."""
    import torch

    flat = [gradient.detach().flatten(1) for gradient in gradients.values()]
    lengths: Tensor = torch.linalg.vector_norm(torch.cat(flat, 1), dim=1)
    return lengths


def gradient_norms(matcher: Matcher, synthetic: SyntheticImages, k: int) -> Norms:
    """The gradient norms in the k-th outer iteration, which updates `synthetic` in place.

    Args:
        matcher: of the condensation; its distance is replaced, so do not use it again.
        synthetic: the images after the iterations before.
        k: the number of the iteration.
    """
    found = Magnitudes(matcher)
    matcher.outer_iteration(synthetic, k)
    chunks = len(matcher.class_chunks)
    return Norms(*(joined(norms, chunks) for norms in (found.real, found.synthetic)))


def joined(parts: Sequence[Tensor], chunks: int) -> list[Tensor]:
    """The norms [classes] of each step, whose classes were matched in so many chunks."""
    import torch

    return [torch.cat(list(step)) for step in zip(*[iter(parts)] * chunks, strict=True)]


def measure(settings: Figure5, data: ImageData, method: str) -> list[Row]:
    """Condense with a method or resume from its checkpoint. Returns one row per step at k = K."""
    from condense.methods.gradient_matching import Matcher, condense_by_gradient_matching
    from condense.methods.initialisation import images_like
    from condense.methods.optimisation import synthetic_images
    from condense.runs.checkpointer import FileCheckpointer
    from condense.runs.progress import Progress

    matching = method_named(method).preset(settings.preset, storage="float32")
    path = kept_at(settings, data, method, matching)
    with FileCheckpointer(path, show=Progress(f"condensing by {method}")) as checkpointer:
        condense_by_gradient_matching(data, matching, settings.seed, checkpointer)
        checkpointer.flush()
        reached = checkpointer.restore()
    assert reached is not None
    synthetic = synthetic_images(data, matching, images_like(data, matching))
    synthetic.restore(reached)
    matcher = Matcher(data, matching, settings.seed)
    found = gradient_norms(matcher, synthetic, matching.iterations)
    changed = {"method": method, "overrides": json.dumps(overrides(matching))}
    return [
        {
            "condensed": METHODS[method],
            "k": matching.iterations,
            "t": t,
            **spread(found, t),
            **changed,
        }
        for t in range(len(found.real))
    ]


def spread(found: Norms, t: int) -> Row:
    """Mean, minimum and maximum over the classes at a step."""
    row = {}
    for kind in IMAGES:
        values: Tensor = getattr(found, kind)[t]
        for name, value in (("mean", values.mean()), ("min", values.min()), ("max", values.max())):
            row[f"{kind}_{name}"] = f"{float(value):.6g}"
    return row


def plot(rows: Sequence[Row], path: Path) -> None:
    """Plot mean and range over the classes at each step, without and with DSA."""
    figure = new_figure(8, 3.2)
    panels = figure.subplots(1, len(METHODS), sharey=True)
    for axes, condensed in zip(panels, METHODS.values(), strict=True):
        mine = [row for row in rows if row["condensed"] == condensed]
        steps = [row["t"] for row in mine]
        for kind in IMAGES:
            mean, low, high = (
                [float(row[f"{kind}_{name}"]) for row in mine] for name in ("mean", "min", "max")
            )
            axes.plot(steps, mean, marker="o", label=f"{kind} images")
            axes.fill_between(steps, low, high, alpha=0.2)
        axes.set_title(condensed)
        axes.set_xlabel(f"step of the inner loop at k = {mine[0]['k']}")
        axes.set_xticks(steps)
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("norm of the gradient")
    panels[0].legend(loc="lower left")
    save(figure, path)


def run(argv: list[str]) -> None:
    """Measure, save and plot."""
    settings = read_flags(Figure5, argv, PROG)
    data = load_images(settings)
    measured = about(settings, data, PROG, argv)
    rows = [{**row, **measured} for method in METHODS for row in measure(settings, data, method)]
    write_rows(settings.results / "figure5.csv", rows)
    plot(rows, settings.results / "figure5.png")
    for row in rows:
        print(f"{row['condensed']}, t = {row['t']}: real {row['real_mean']}", end=", ")
        print(f"synthetic {row['synthetic_mean']}")


if __name__ == "__main__":
    main(run)
