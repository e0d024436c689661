"""The images of a stream's tasks, before Avalanche comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from condense import ImageData, UserError, load, load_or_embedded, unknown
from continual.settings import EMBEDDED, REAL, STREAMS, Stream


def load_tasks(name: str = "auto", root: Path | None = None) -> tuple[str, list[ImageData]]:
    """The images of each task of a stream, of one shape and under one normalisation.

    The normalisation is that of the first task, which is all that the learner knows when it
    starts; one for all, so that no task can be told by it at test. Where the tasks are classes of
    one data set it is that set's, whose published constants are known beforehand: to measure it
    anew on the images of the first classes alone would only make results hard to compare.

    Args:
        name: one of `STREAMS`; or `auto`, the first of them, or loudly the last where a data set
            cannot be had.
        root: folder of the data sets, as for `condense.load`.

    Returns:
        The stream's name and its tasks.

    Raises:
        UserError: for an unknown stream, or where a data set cannot be had.
    """
    if name == "auto":
        real, embedded = (
            [part.dataset for part in STREAMS[known].parts] for known in (REAL, EMBEDDED)
        )
        sets = load_or_embedded(real, embedded, root)
        name = REAL if [data.name for data in sets] == real else EMBEDDED
    elif name in STREAMS:
        names = [part.dataset for part in STREAMS[name].parts]
        loaded = {dataset: load(dataset, root) for dataset in dict.fromkeys(names)}
        sets = [loaded[dataset] for dataset in names]
    else:
        raise unknown("stream", name, ["auto", *STREAMS])
    return name, prepare(STREAMS[name], sets)


def prepare(stream: Stream, sets: Sequence[ImageData]) -> list[ImageData]:
    """The data sets of a stream's parts as its tasks: classes chosen, resized, normalised alike."""
    tasks = [
        _chosen(data, part.classes).resized(stream.size, stream.channels)
        for part, data in zip(stream.parts, sets, strict=True)
    ]
    return [replace(data, mean=tasks[0].mean, std=tasks[0].std) for data in tasks]


def augmentation(tasks: Sequence[ImageData]) -> tuple[str, ...]:
    """EEIL's operations for all tasks; flip where a mirrored image still shows its class."""
    return ("color", "crop", "flip") if all(data.mirror for data in tasks) else ("color", "crop")


def small_shape(data: ImageData, formation: int) -> tuple[int, int, int]:
    """Channels, height and width of images of which formation² take the place of one of these.

    Raises:
        UserError: where nothing is left of them.
    """
    channels, height, width = data.shape
    if formation > min(height, width):
        raise UserError(f"images of {height}×{width} cannot be made {formation} times smaller")
    return channels, height // formation, width // formation


def _chosen(data: ImageData, classes: Sequence[int] | None) -> ImageData:
    """Some classes of a data set, under a name that says which."""
    if classes is None:
        return data
    return replace(data.with_classes(classes), name=f"{data.name} {','.join(map(str, classes))}")
