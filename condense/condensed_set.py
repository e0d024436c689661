"""The condensed set: a few images per class, their labels, and their provenance."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from condense.data.arrays import check_class_name
from condense.data.image_data import ImageData, sha256
from condense.errors import UserError, one_line
from condense.runs.html_report import figure_html
from condense.runs.io import (
    atomic_write,
    is_text,
    read_tensors,
    write_tensors,
)
from condense.seeds import generator
from condense.storage.registry import ENTRIES
from condense.storage.stored import StoredImages

FORMAT = "condensed-set-1"

SUM_TOLERANCE = 1e-4
"""Allowed deviation from 1 of the sum of a soft label in float32."""


@dataclass(frozen=True, eq=False)
class CondensedSet:
    """Images in pixel scale, their labels, and their provenance.

    Attributes:
        images: float32 [n, c, h, w]; 0 is black and 1 white, other values are not clamped.
        labels: int64 [n], or soft, [n, classes]: float32, rows of probabilities, or uint8,
            proportional to them. A set with soft labels has the same number of images of each
            class, ordered by class.
        mean, std: per channel, the normalisation with which the images were made.
        class_names: one for each label.
        provenance: dataset, method, ipc, network, seed, version, …; after an evaluation also
            accuracy, accuracy_std and evaluation, the settings of the evaluation.
        distill_lrs: float32 [epochs, steps], all above 0: the learning rates learnt with the set,
            to be used for training on it; else None. In each epoch, step s uses the s-th equal
            share of the images of each class; the images are ordered by class.
        stored: the images as `save` writes them, if not as float32; `images` are decoded from it.

    >>> from condense import CondensedSet, condense, load
    >>> small = condense(load("digits"), "random", ipc=2)
    >>> small.shape, small.classes, small.ipc
    ((1, 8, 8), 10, 5)
    >>> small.save("digits.safetensors")
    >>> CondensedSet.load("digits.safetensors").images.equal(small.images)
    True
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    provenance: dict[str, Any] = field(default_factory=dict)
    distill_lrs: Tensor | None = None
    stored: StoredImages | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def ipc(self) -> int:
        """Images per class."""
        return len(self.images) // self.classes

    @property
    def hard_labels(self) -> Tensor:
        """The class of each image, int64 [n].

        With soft labels the class is given by the position in the set, not by the label: its most
        probable class may be another.
        """
        if self.labels.ndim == 1:
            return self.labels
        return torch.arange(self.classes).repeat_interleave(self.ipc)

    @property
    def targets(self) -> Tensor:
        """The labels for a loss: int64 [n], or soft: float32 [n, classes]."""
        if self.labels.ndim == 1:
            return self.labels
        labels = self.labels.float()
        return labels if self.labels.is_floating_point() else labels / labels.sum(1, keepdim=True)

    def normalised(self, data: ImageData | None = None) -> Tensor:
        """The images as network input, [n, c, h, w]: (pixels − mean) / std.

        With the normalisation of `data` if given, else with that of the set.
        """
        source = data or self
        mean, std = (self.images.new_tensor(v)[:, None, None] for v in (source.mean, source.std))
        return (self.images - mean) / std

    @classmethod
    def from_normalised(
        cls, images: Tensor, labels: Tensor, data: ImageData, distill_lrs: Tensor | None = None
    ) -> CondensedSet:
        """A set of images that are normalised as `data`."""
        pixels = data.denormalise(images.detach()).cpu()
        return cls(
            pixels, labels.cpu(), data.mean, data.std, data.class_names, distill_lrs=distill_lrs
        )

    @classmethod
    def from_stored(cls, stored: StoredImages, labels: Tensor, data: ImageData) -> CondensedSet:
        """A set of stored images, encoded with the normalisation of `data`."""
        images = stored.decode(data.mean, data.std)
        return cls(images, labels.cpu(), data.mean, data.std, data.class_names, stored=stored)

    @property
    def bytes(self) -> int:
        """Bytes of images and soft labels in a file."""
        images = self.images.nbytes if self.stored is None else self.stored.bytes
        return images + (self.labels.nbytes if self.labels.ndim > 1 else 0)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training data: images, labels, `mean`, `std` and `distill_lrs`.

        It does not depend on the device or the provenance.
        """
        about = (
            self.mean,
            self.std,
            None if self.distill_lrs is None else self.distill_lrs.tolist(),
        )
        return sha256(self.images, self.labels, str(about))

    def with_provenance(self, **more: Any) -> CondensedSet:
        """The same set with more entries in `provenance`."""
        return replace(self, provenance={**self.provenance, **more})

    def as_dataset(self) -> TensorDataset:
        """(normalised image, label) pairs, for a `DataLoader`."""
        return TensorDataset(self.normalised(), self.targets)

    def loader(
        self, batch_size: int = 256, *, shuffle: bool = True, seed: int = 0
    ) -> DataLoader[tuple[Tensor, ...]]:
        """Batches of `as_dataset`, in an order that depends on the seed and the epoch."""
        draws = generator(seed, "loader")
        return DataLoader(self.as_dataset(), batch_size, shuffle=shuffle, generator=draws)

    def __repr__(self) -> str:
        about = [
            str(self.provenance[key]) for key in ("dataset", "method") if key in self.provenance
        ]
        counts = f"{self.classes} classes, {len(self.images)} images {_size(self.shape)}"
        return f"CondensedSet({', '.join([*about, counts])}, {self.bytes} bytes)"

    def _repr_html_(self) -> str:
        """What a notebook shows: the images in a grid."""
        return figure_html(self.grid(), repr(self))

    def check_fits(self, data: ImageData) -> None:
        """Check that the set can replace `data` for training.

        Raises:
            UserError: image size or classes differ.
        """
        if self.shape != data.shape:
            raise UserError(
                f"the condensed images are {_size(self.shape)}, those of {data.name} are "
                f"{_size(data.shape)}: choose a set that was made from images of that size"
            )
        if self.class_names != data.class_names:
            raise UserError(
                f"the condensed set is for the classes {_names(self.class_names)}, {data.name} "
                f"has {_names(data.class_names)}: choose a set that was made for those"
            )

    def grid(self, path: Path | str | None = None) -> Image.Image:
        """The images in a grid, one row per class; also written to `path` as PNG if given.

        A class with very many images is shown by its first ones.
        """
        picture = _picture(self)
        if path is not None:
            with atomic_write(Path(path)) as aside:
                picture.save(aside, format="PNG")
        return picture

    def save(self, path: Path | str) -> None:
        """Write the set as one safetensors file, atomically."""
        metadata = {
            "format": FORMAT,
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
            "normalised": "false",
            "class_names": json.dumps(self.class_names, ensure_ascii=False),
            "provenance": json.dumps(self.provenance, ensure_ascii=False, sort_keys=True),
        }
        if self.stored is None:
            tensors = {"images": self.images, "labels": self.labels}
        else:
            tensors = {**self.stored.tensors, "labels": self.labels}
            metadata.update(self.stored.metadata)
        if self.distill_lrs is not None:
            tensors["distill_lrs"] = self.distill_lrs
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: Path | str) -> CondensedSet:
        """Read a set that `save` wrote.

        Raises:
            UserError: the file is missing, malformed, or not a condensed set.
        """
        tensors, metadata = read_tensors(path)
        try:
            return _checked(cls, tensors, metadata)
        except KeyError as error:
            raise UserError(f"{path} is not a condensed set: it has no {error}") from error
        except (UserError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path} is not a condensed set: {one_line(error)}") from error


def _checked(
    cls: type[CondensedSet], tensors: dict[str, Tensor], metadata: dict[str, str]
) -> CondensedSet:
    """A set from the content of a file; ValueError, KeyError or TypeError if it is invalid."""
    if metadata.get("format") != FORMAT:
        raise ValueError(f"its metadata does not say format={FORMAT}")
    labels = tensors["labels"]
    names = tuple(json.loads(metadata["class_names"]))
    mean, std = (tuple(map(float, json.loads(metadata[key]))) for key in ("mean", "std"))
    provenance = json.loads(metadata["provenance"])
    stored = _stored(tensors, metadata)
    images = tensors["images"] if stored is None else stored.decode(mean, std)
    if images.dtype != torch.float32 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images are {images.dtype} {list(images.shape)}, not float32 [n, c, h, w]"
        )
    if not images.numel():
        raise ValueError("images are empty")
    if not images.isfinite().all():
        raise ValueError("images hold NaN or infinite values")
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names are not a list of names")
    for name in names:
        check_class_name(name)
    _check_labels(labels, len(images), len(names))
    lrs = tensors.get("distill_lrs")
    if lrs is not None:
        _check_lrs(lrs, labels, len(names))
    if len(mean) != images.shape[1] or len(std) != images.shape[1]:
        raise ValueError("mean and std are not one number per channel")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ValueError("mean and std are not finite, or std is not above 0")
    if not is_text(json.dumps(provenance, ensure_ascii=False)):
        raise ValueError("provenance is not valid Unicode")
    if not isinstance(provenance, dict):
        raise ValueError("provenance is not an object")
    if metadata["normalised"] not in ("true", "false"):
        raise ValueError("normalised is neither true nor false")
    if metadata["normalised"] == "true":
        scale, offset = (images.new_tensor(v)[:, None, None] for v in (std, mean))
        images = images * scale + offset
    return cls(images, labels, mean, std, names, provenance, lrs, stored)


def _stored(tensors: dict[str, Tensor], metadata: dict[str, str]) -> StoredImages | None:
    """The stored images of a file, not checked yet; None if it has the images themselves."""
    if "storage" not in metadata:
        return None
    own = {name: tensors[name] for name in tensors if name not in ("labels", "distill_lrs")}
    return StoredImages(own, {name: metadata[name] for name in ENTRIES if name in metadata})


def _check_labels(labels: Tensor, images: int, classes: int) -> None:
    """Raise ValueError if these are not hard or soft labels of the images and classes."""
    if labels.dtype == torch.int64 and labels.shape == (images,):
        if sorted(set(labels.tolist())) != list(range(classes)):
            raise ValueError(f"labels are not 0 to {classes - 1}, each at least once")
    elif labels.dtype in (torch.float32, torch.uint8) and labels.shape == (images, classes):
        sums = labels.double().sum(1)
        if labels.dtype == torch.uint8:
            if not (sums > 0).all():
                raise ValueError("a soft label has no probability above 0")
        elif not (labels >= 0).all() or not ((sums - 1).abs() <= SUM_TOLERANCE).all():
            raise ValueError("soft labels are not rows of probabilities that sum to 1")
        if images % classes:
            raise ValueError(
                f"{images} images with soft labels cannot be divided equally among "
                f"{classes} classes"
            )
    else:
        raise ValueError(
            f"labels are {labels.dtype} {list(labels.shape)}, neither int64 [{images}] nor float32 "
            f"or uint8 [{images}, {classes}]"
        )


def _check_lrs(lrs: Tensor, labels: Tensor, classes: int) -> None:
    """Raise ValueError if these are not learning rates, or do not match the labels."""
    if lrs.dtype != torch.float32 or lrs.ndim != 2 or not lrs.numel():
        raise ValueError(
            f"distill_lrs are {lrs.dtype} {list(lrs.shape)}, not float32 [epochs, steps]"
        )
    if not lrs.isfinite().all() or not (lrs > 0).all():
        raise ValueError("distill_lrs are not all finite and above 0")
    ipc, rest = divmod(len(labels), classes)
    if rest or ipc % lrs.shape[1]:
        raise ValueError(f"{len(labels)} images of {classes} classes for {lrs.shape[1]} steps")
    if labels.ndim == 1 and not torch.equal(labels, torch.arange(classes).repeat_interleave(ipc)):
        raise ValueError("images of a set with distill_lrs must be ordered by class")


def _picture(
    condensed: CondensedSet, gap: int = 2, longest: int = 1600, widest: int = 2000
) -> Image.Image:
    """The images in a grid, enlarged by an integer factor so that small images are visible.

    Of a class with many images it has those that fit into `widest` pixels, at least 10.
    """
    labels = condensed.hard_labels
    channels, height, width = condensed.shape
    columns = min(int(labels.bincount().max()), max(10, (widest - gap) // (width + gap)))
    canvas = torch.ones(
        channels, condensed.classes * (height + gap) + gap, columns * (width + gap) + gap
    )
    filled = [0] * condensed.classes
    for index, row in enumerate(labels.tolist()):
        column = filled[row]
        filled[row] += 1
        if column >= columns:
            continue
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        canvas[:, top : top + height, left : left + width] = condensed.images[index]
    pixels = (canvas.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0)
    picture = Image.fromarray(pixels.squeeze(2).numpy())
    factor = max(1, min(4, longest // max(picture.size)))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def _size(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}×{width} with {channels} channel{'s' if channels > 1 else ''}"


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown}, … ({len(names)})"
