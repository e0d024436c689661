"""Condensed sets in `.pt` files: exports of this package, and those of other repositories.

Known are `res_DSA_….pt` of VICO-UoE/DatasetCondensation (images and labels of each experiment),
`images_best.pt` with `labels_best.pt` and `lr_best.pt` beside it (MTT, TESLA, DATM), pairs of
images and labels (IDC), and dictionaries of them. Nothing is unpickled but tensors and numbers.
"""

from __future__ import annotations

import codecs
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import SET_SUFFIXES
from condense.data.image_data import ImageData
from condense.data.registry import Known
from condense.errors import UserError, one_line
from condense.runs.io import is_file
from condense.set_checks import check_lrs
from condense.set_fields import as_floats, fields_of_tensors, looks_normalised, provenance_of
from condense.system.memory import check_memory
from condense.system.notes import note

IMAGE_KEYS = ("images", "image_syn", "data", "x")
LABEL_KEYS = ("labels", "label_syn", "targets", "y")
LR_KEYS = ("lr", "syn_lr", "lrs")
EXPORTED = {"images", "labels", "class_names", "mean", "std", "provenance"}
"""Keys of every file of `condense export --to pt`."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """What a file has: images [n, c, h, w], labels [n] or [n, classes], a learnt learning rate."""

    images: Tensor
    labels: Tensor
    lr: float | None = None


def is_pt(path: Path) -> bool:
    """Whether `path` is named as a `.pt` file."""
    return path.suffix in SET_SUFFIXES[1:]


def is_foreign(path: Path) -> bool:
    """Whether `path` is a file of another repository, so it does not say what it was made from.

    Raises:
        UserError: it is a `.pt` file that cannot be read.
    """
    return is_pt(path) and not _is_export(load_pt(path))


def load_set(path: Path | str, data: ImageData | Known | None = None) -> CondensedSet:
    """The condensed set of a file: one of our own, or of another repository.

    Prints how images are read, and a learnt learning rate.

    Args:
        path: the file.
        data: for a file of another repository: the data set that its images were made from, or
            its entry in `condense.data.registry.DATASETS`.

    Raises:
        UserError: it is no condensed set, or `data` is missing.
    """
    path = Path(path)
    if not is_pt(path):
        return CondensedSet.load(path)
    content = load_pt(path)
    if _is_export(content):
        return _exported(content, path)
    found = tensors_in(content, path)
    normalised = looks_normalised(found.images, data.mean if data else None)
    if normalised and data is None:
        raise UserError(
            f"{path}: its images are normalised: give the --dataset that they were made from"
        )
    try:
        made = CondensedSet.from_tensors(
            found.images,
            found.labels,
            mean=data.mean if data else None,
            std=data.std if data else None,
            class_names=data.class_names if data else None,
            normalised=normalised,
            provenance={"method": path.stem} | ({} if found.lr is None else {"lr": found.lr}),
        )
    except UserError as problem:
        raise UserError(f"{path}: {problem}") from None
    notes = []
    if normalised:
        notes.append(
            "images are read as normalised with mean and std; ZCA whitening is missing here, and "
            "images made with it cannot be used"
        )
    if found.lr is not None:
        notes.append(f"it has a learnt learning rate; to train with it: --lr {found.lr:.4g}")
    for text in notes:
        note(f"{path.name}: {text}")
    return made


def _is_export(content: Any) -> bool:
    return isinstance(content, Mapping) and content.keys() >= EXPORTED


def _exported(content: Mapping[str, Any], path: Path) -> CondensedSet:
    """The set that was exported."""
    try:
        fields = fields_of_tensors(
            content["images"],
            content.get("soft_labels", content["labels"]),
            content["mean"],
            content["std"],
            content["class_names"],
            normalised=False,
            largest=math.inf,
        )
        lrs = content.get("distill_lrs")
        if lrs is not None:
            check_lrs(lrs, fields["labels"], len(fields["class_names"]))
        provenance = provenance_of(content["provenance"])
        return CondensedSet(**fields, provenance=provenance, distill_lrs=lrs)
    except (UserError, ValueError, TypeError, AttributeError) as problem:
        raise UserError(f"{path} is not a set as it was exported: {one_line(problem)}") from problem


def load_pt(path: Path) -> Any:
    """The content of a `.pt` file: tensors and numbers.

    Raises:
        UserError: it cannot be read, or has other objects.
    """
    if not is_file(path):
        raise UserError(f"cannot read {path}: there is no such file")
    check_memory(path.stat().st_size, f"cannot read {path}: it")
    try:
        with torch.serialization.safe_globals(_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} has other Python objects than tensors and numbers, which are not loaded: "
            "save images and labels alone"
        ) from error
    # A damaged file can make torch and zipfile raise almost anything.
    except Exception as error:
        raise UserError(f"cannot read {path}: {one_line(error)}") from error


def _numbers() -> list[Any]:
    """What NumPy's numbers consist of: VICO's files have accuracies beside the images."""
    scalar: Any = np.float64(0).__reduce__()[0]
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]
    types = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64)]
    return [*((scalar, name) for name in names), np.dtype, *types, codecs.encode]


def tensors_in(content: Any, path: Path) -> Tensors:
    """The images and labels in the content of a `.pt` file; of several experiments, those of the
    first.

    Raises:
        UserError: it has no images with labels, or those beside it cannot be read.
    """
    if isinstance(content, Mapping):
        images, labels, lr = (
            next((content[key] for key in keys if key in content), None)
            for keys in (IMAGE_KEYS, LABEL_KEYS, LR_KEYS)
        )
        if isinstance(images, list | tuple):
            return tensors_in(images, path)
        return _checked(images, labels, lr, path)
    if isinstance(content, list | tuple) and content:
        if isinstance(content[0], Tensor) and len(content) >= 2:
            return _checked(content[0], content[1], None, path)
        return tensors_in(content[0], path)
    if isinstance(content, Tensor) and "images" in path.name:
        named = partial(path.name.replace, "images")
        labels, lr = path.with_name(named("labels")), path.with_name(named("lr"))
        return _checked(content, load_pt(labels), load_pt(lr) if is_file(lr) else None, path)
    return _checked(None, None, None, path)


def _checked(images: Any, labels: Any, lr: Any, path: Path) -> Tensors:
    given = isinstance(images, Tensor) and isinstance(labels, Tensor)
    if not (given and images.ndim == 4 and images.numel()):
        raise UserError(
            f"{path} has no images [n, c, h, w] with labels; known are (images, labels), a "
            f"dictionary with {IMAGE_KEYS[0]} and {LABEL_KEYS[0]}, and images_….pt beside "
            "labels_….pt"
        )
    if isinstance(lr, Tensor):
        lr = float(lr.mean()) if lr.numel() else None
    return Tensors(as_floats(images), labels, float(lr) if isinstance(lr, int | float) else None)
