"""The formats of `condense export`, by name."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from condense.condensed_set import CondensedSet
from condense.errors import UserError
from condense.export.hub import write_repository
from condense.export.png import png_images
from condense.runs.io import TEMPORARY, atomic_write, writing
from condense.set_fields import plain_provenance

Format = Literal["folder", "npz", "pt", "parquet"]
_EXISTS = "{out} exists already: choose another --out"
_RESERVED = '/\\:*?"<>|'
"""Characters that are not allowed in the name of a file on some system."""


def export(condensed: CondensedSet, to: Format, out: Path, license_name: str = "unknown") -> str:
    """Write the set in another format.

    * folder: `OUT/train/CLASS/NUMBER.png`, for torchvision's ImageFolder and `datasets`; soft
      labels are in `OUT/soft_labels.csv`. If the class names are not in alphabetical order, a
      number comes before them, so that ImageFolder gives the labels of the set.
    * npz, pt: `images` float32 [n, c, h, w], pixels, 0 black and 1 white, not normalised;
      `labels` int64 [n]; `class_names`, `mean`, `std`, `provenance`; `soft_labels` float32
      [n, classes] and `distill_lrs` if the set has them. They are exactly those of the set.
    * parquet: a dataset repository of the Hugging Face hub: `OUT/data/*.parquet` with the columns
      image, label and, if the set has them, soft_label; `OUT/README.md` is its card.

    In folders and parquet files images are PNG: rounded to 8 bits, and cut off at black and white.

    Args:
        condensed: the set.
        to: the format.
        out: a new file, or a new or empty folder.
        license_name: for the card; an identifier of the hub, such as cc-by-4.0.

    Returns:
        Code that loads the files.

    Raises:
        UserError: `out` exists, it cannot be written, or a library is missing.
    """
    if to in ("npz", "pt"):
        if out.exists():
            raise UserError(_EXISTS.format(out=out))
        with atomic_write(out) as temporary:
            temporary.write_bytes(_WRITERS[to](_arrays(condensed)))
        return _LOADED_BY[to].format(out=out)
    with _new_folder(out) as folder:
        if to == "folder":
            _write_images(condensed, folder)
        else:
            write_repository(condensed, folder, license_name)
    return _LOADED_BY[to].format(out=out)


def folder_names(class_names: tuple[str, ...]) -> list[str]:
    """A folder name for each class; in alphabetical order they are in the order of the classes."""
    names = ["".join("-" if char in _RESERVED else char for char in name) for name in class_names]
    plain = all(name.strip(". ") == name != "" for name in names)
    if plain and names == sorted(set(names)):
        return names
    digits = len(str(len(names) - 1))
    return [f"{number:0{digits}}-{name.strip('. ')}" for number, name in enumerate(names)]


def _arrays(condensed: CondensedSet) -> dict[str, Any]:
    """The content of an npz or pt file."""
    arrays = {
        "images": condensed.images.detach().float().cpu(),
        "labels": condensed.hard_labels.cpu(),
        "class_names": list(condensed.class_names),
        "mean": list(condensed.mean),
        "std": list(condensed.std),
        "provenance": json.dumps(plain_provenance(condensed.provenance), ensure_ascii=False),
    }
    if condensed.labels.ndim > 1:
        arrays["soft_labels"] = condensed.targets.cpu()
    if condensed.distill_lrs is not None:
        arrays["distill_lrs"] = condensed.distill_lrs.cpu()
    return arrays


def _npz(arrays: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
    return content.getvalue()


def _pt(arrays: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    torch.save(arrays, content)
    return content.getvalue()


_WRITERS: dict[str, Callable[[dict[str, Any]], bytes]] = {"npz": _npz, "pt": _pt}
_LOADED_BY: dict[str, str] = {
    "folder": 'torchvision.datasets.ImageFolder("{out}/train")',
    "npz": 'numpy.load("{out}")',
    "pt": 'torch.load("{out}", weights_only=True)',
    "parquet": 'datasets.load_dataset("{out}", split="train")',
}


def _write_images(condensed: CondensedSet, folder: Path) -> None:
    """A PNG file for each image, and a table of soft labels."""
    names = folder_names(condensed.class_names)
    rows = [["file", *condensed.class_names]]
    soft = condensed.targets.tolist() if condensed.labels.ndim > 1 else None
    for name in names:
        (folder / "train" / name).mkdir(parents=True)
    for number, (image, label) in enumerate(
        zip(png_images(condensed), condensed.hard_labels.tolist(), strict=True)
    ):
        file = f"train/{names[label]}/{number:06}.png"
        image.save(folder / file)
        if soft is not None:
            rows.append([file, *map(str, soft[number])])
    if soft is not None:
        with (folder / "soft_labels.csv").open("w", newline="", encoding="utf-8") as table:
            csv.writer(table, lineterminator="\n").writerows(rows)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A temporary folder that becomes `out` at the end of the block.

    Raises:
        UserError: `out` exists and is not an empty folder, or it cannot be written.
    """
    with writing(out, "--out"):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise UserError(_EXISTS.format(out=out))
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, dir=out.parent) as temporary:
            folder = Path(temporary, "new")
            folder.mkdir()
            yield folder
            folder.replace(out)
