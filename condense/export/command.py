"""`condense export`: a condensed set as files for other programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from condense.cli.flags import read_flags


@dataclass(frozen=True)
class Export:
    """Write a condensed set as files for other programs."""

    set: tyro.conf.Positional[Path]
    """The condensed set: a .safetensors file, a name that `condense zoo` lists, or a .pt file of
    another repository with images from 0 to 1."""
    to: Literal["folder", "npz", "pt", "parquet"]
    """folder: PNG files, for ImageFolder. npz, pt: arrays for NumPy or PyTorch, exactly those of
    the set. parquet: a dataset repository of the Hugging Face hub, with its card."""
    out: Path | None = None
    """A new file or folder. Default: SET.npz, SET.pt, SET-folder or SET-parquet, in the current
    folder."""
    license: str = "unknown"
    """Licence in the card of the parquet format, as the hub names it: cc-by-4.0, mit, …"""


def export_set(argv: list[str]) -> None:
    """Write a condensed set as files for other programs."""
    settings = read_flags(Export, argv, "python -m condense export")
    from condense.export.formats import export
    from condense.export.png import clipped
    from condense.foreign_sets import load_set
    from condense.zoo import file_of

    condensed = load_set(file_of(settings.set))
    to, stem = settings.to, settings.set.stem
    arrays = to in ("npz", "pt")
    out = settings.out or Path(f"{stem}.{to}" if arrays else f"{stem}-{to}")
    code = export(condensed, to, out, settings.license)
    print(f"{out}: {len(condensed.images)} images of {condensed.classes} classes")
    if not arrays:
        cut = 100 * clipped(condensed)
        print(f"  rounded to 8 bits; {cut:.1f} % of the numbers were cut off at black or white")
    print(f"  load it: {code}")
