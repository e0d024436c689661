"""Condensations that figures look into: their settings, their images, and where they are kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.commands import machine
from benchmarks.rows import RESULTS
from condense.command_line import choose_device
from condense.run_folder import provenance

if TYPE_CHECKING:
    from condense.data import ImageData
    from condense.settings import GradientMatching


@dataclass(frozen=True)
class Condensations:
    """What the figures have in common; all are of ten images per class."""

    dataset: str = "cifar10"
    """A known name (cifar10, mnist, …), or the path of an .npz or a folder."""
    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    seed: int = 0
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    runs: Path = Path("runs/figures")
    """Where condensations are kept; one that was interrupted is gone on with."""
    results: Path = RESULTS
    """Where the figure goes, and its numbers."""


def load_images(settings: Condensations) -> ImageData:
    """The images, on the device that is computed on.

    Raises:
        UserError: there is no such device, or no such images.
    """
    device = choose_device(settings.device)
    from condense.data import load

    return load(settings.dataset, settings.data_root).to(device)


def kept_at(
    settings: Condensations, data: ImageData, method: str, matching: GradientMatching
) -> Path:
    """The checkpoint of a condensation, named after the figure and all that it depends on.

    Figures do not share one, because they do not keep the same of a condensation.
    """
    from condense.cache import cache_key

    key = cache_key(data.fingerprint(), method, matching, settings.seed)
    return settings.runs / f"{type(settings).__name__.lower()}-{key}.safetensors"


def about(
    settings: Condensations, data: ImageData, prog: str, argv: Sequence[str]
) -> dict[str, Any]:
    """How something was measured, to be kept with it."""
    import torch

    return {
        "command": shlex.join([*prog.split(), *argv]),
        "dataset": data.name,
        "preset": settings.preset,
        "seed": settings.seed,
        "train": len(data.x_train),
        "images": data.fingerprint(),
        "device": str(data.device),
        **provenance(),
        **machine(torch.get_num_threads()),
    }
