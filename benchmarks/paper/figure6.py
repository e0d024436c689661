"""Figure 6 of the paper, evolution of synthetic images: `python -m benchmarks.paper.figure6`.

Condenses ten images per class with DSA, initialised from noise and from real images. Draws some
images of two classes after increasing numbers of outer iterations, from 0 on, in
results/figure6.png. The file's `Description` contains the settings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from benchmarks.condensations import Condensations, about, kept_at, load_images
from condense.cli.app import main
from condense.cli.flags import read_flags
from condense.errors import UserError, unknown
from condense.methods.registry import method_named
from condense.runs.checkpoint import Checkpoint
from condense.runs.checkpointer import FileCheckpointer
from condense.runs.plots import new_figure, save
from condense.runs.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from condense.data.image_data import ImageData

PROG = "python -m benchmarks.paper.figure6"
Start = Literal["noise", "real"]
STARTS: dict[Start, str] = {"noise": "from noise", "real": "from real images"}
SHOWN = 3
"""Number of images drawn per class."""

Evolution = Mapping[int, "Tensor"]
"""Images [classes, ipc, c, h, w], normalised, by the number of outer iterations done."""


@dataclass(frozen=True)
class Figure6(Condensations):
    """Draw the evolution of synthetic images, from noise and from real images."""

    classes: tuple[str, ...] = ("automobile", "cat")
    """Names of the classes to draw."""


class Moments(FileCheckpointer):
    """A checkpointer that also saves the images after some of the outer iterations.

    Attributes:
        seen: the images by the number of outer iterations done.
    """

    def __init__(self, path: Path, wanted: Sequence[int], show: Progress) -> None:
        super().__init__(path, show=show)
        self.wanted = wanted
        self.seen: dict[int, Tensor] = {}

    def restore(self) -> Checkpoint | None:
        """The checkpoint to resume from; restores `seen` too."""
        before = super().restore()
        if before:
            numbers = sorted(int(name) for name in before.tensors if name.isdecimal())
            self.seen = {number: before.tensors[str(number)] for number in numbers}
        return before

    def save(self, checkpoint: Checkpoint) -> None:
        """Save the checkpoint together with the images in `seen`."""
        if checkpoint.state["iteration"] in self.wanted:
            self.seen[checkpoint.state["iteration"]] = checkpoint.tensors["plane0"].clone()
        seen = {str(number): images for number, images in self.seen.items()}
        super().save(replace(checkpoint, tensors={**checkpoint.tensors, **seen}))


def moments(outer: int) -> list[int]:
    """The iterations at which images are drawn: 0, and `outer` halved zero to five times."""
    return [0, *sorted({outer >> halvings for halvings in range(6)} - {0})]


def evolution(settings: Figure6, data: ImageData, start: Start) -> Evolution:
    """Condense from an initialisation, or resume, and return the images at `moments`."""
    from condense.methods.gradient_matching import condense_by_gradient_matching
    from condense.methods.initialisation import initial_images

    matching = method_named("dsa").preset(settings.preset, storage="float32", init=start)
    path = kept_at(settings, data, "dsa", matching)
    bar = Progress(f"condensing {STARTS[start]}")
    with Moments(path, moments(matching.iterations), bar) as checkpointer:
        condense_by_gradient_matching(data, matching, settings.seed, checkpointer)
    return {0: initial_images(data, matching, settings.seed), **checkpointer.seen}


def tiles(data: ImageData, evolved: Evolution, labels: Sequence[int]) -> Tensor:
    """An image grid [3, height, width] in 0..1: a row per image, a column per moment."""
    import torch
    from torchvision.utils import make_grid

    columns = [images[list(labels), :SHOWN].flatten(0, 1).cpu() for images in evolved.values()]
    pixels = data.denormalise(torch.stack(columns, 1).flatten(0, 1)).clamp(0, 1)
    picture: Tensor = make_grid(pixels, nrow=len(columns), pad_value=1)
    return picture


def plot(
    data: ImageData, evolutions: Sequence[Evolution], settings: Figure6, path: Path, said: object
) -> None:
    """Plot a panel per initialisation, in the order of `STARTS`; `said` is the file's metadata."""
    figure = new_figure(9, 4.8, dpi=200)
    names, labels = list(settings.classes), [data.class_names.index(c) for c in settings.classes]
    panels = figure.subplots(1, len(STARTS))
    for axes, title, evolved in zip(panels, STARTS.values(), evolutions, strict=True):
        picture = tiles(data, evolved, labels)
        row, column = picture.shape[1] / len(names), picture.shape[2] / len(evolved)
        axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title)
        axes.set_xlabel("outer iterations")
        axes.set_xticks([(place + 0.5) * column for place in range(len(evolved))], list(evolved))
        axes.set_yticks([(place + 0.5) * row for place in range(len(names))], names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    save(figure, path, said)


def run(argv: list[str]) -> None:
    """Condense from both initialisations, and plot.

    Raises:
        UserError: there is no such class, and as `load_images`.
    """
    settings = read_flags(Figure6, argv, PROG)
    if not settings.classes:
        raise UserError("give one or more classes to draw")
    data = load_images(settings)
    for name in settings.classes:
        if name not in data.class_names:
            raise unknown("class", name, data.class_names)
    evolutions = [evolution(settings, data, start) for start in STARTS]
    path = settings.results / "figure6.png"
    plot(data, evolutions, settings, path, about(settings, data, PROG, argv))
    print(path)


if __name__ == "__main__":
    main(run)
