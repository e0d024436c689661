"""Condensations for the figures: their settings, images and checkpoint files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.commands import machine
from benchmarks.rows import RESULTS
from condense.cli.device import choose_device
from condense.runs.run_dir import provenance

if TYPE_CHECKING:
    from condense.config.methods import GradientMatching
    from condense.data.image_data import ImageData


@dataclass(frozen=True)
class Condensations:
    """Settings shared by the figures; all use ten images per class."""

    dataset: str = "cifar10"
    """A known name (cifar10, mnist, …), or the path of an .npz or a folder."""
    preset: Literal["paper", "cpu", "smoke"] = "cpu"
    device: str = "auto"
    seed: int = 0
    data_root: Path | None = None
    """Folder of the data sets; by default $CONDENSE_DATA, else the user's cache folder."""
    runs: Path = Path("runs/figures")
    """Folder of the condensations; an interrupted one is resumed."""
    results: Path = RESULTS
    """Folder of the figure and its numbers."""


def load_images(settings: Condensations) -> ImageData:
    """The images, on the selected device.

    Raises:
        UserError: the device or the images are not available.
    """
    device = choose_device(settings.device)
    from condense.data.loading import load

    return load(settings.dataset, settings.data_root).to(device)


def kept_at(
    settings: Condensations, data: ImageData, method: str, matching: GradientMatching
) -> Path:
    """The checkpoint path of a condensation, with the figure and a hash of all inputs in its name.

    Figures do not share checkpoints, because they save different data of a condensation.
    """
    from condense.runs.cache import cache_key

    key = cache_key(data.fingerprint(), method, matching, settings.seed)
    return settings.runs / f"{type(settings).__name__.lower()}-{key}.safetensors"


def about(
    settings: Condensations, data: ImageData, prog: str, argv: Sequence[str]
) -> dict[str, Any]:
    """How something was measured, to be saved with it."""
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
