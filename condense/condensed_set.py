"""The condensed set: a few images per class, their labels, and their provenance."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from condense.config.methods import SET_SUFFIXES
from condense.data.image_data import ImageData
from condense.data.image_tensors import row_major, sha256, shape_text
from condense.data.labels import listed
from condense.errors import UserError, one_line
from condense.pictures import as_picture
from condense.runs.html_report import figure_html
from condense.runs.io import DamagedError, atomic_write, plain, read_tensors, write_tensors
from condense.runs.paths import check_png
from condense.seeds import generator
from condense.set_checks import check_fields
from condense.set_fields import (
    FORMAT,
    fields_of_file,
    fields_of_tensors,
    merged_fields,
    ordered_by_class,
    plain_provenance,
)
from condense.storage.stored import StoredImages
from condense.system.plain_torch import plain_torch
from condense.validation import require_class

GAP, LARGE, WIDEST, LONGEST = 2, 64, 2000, 1600
"""Of the picture of a set, in pixels: between images; the side up to which small images are
enlarged; the width of a row before, and the longest side after that."""


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
    >>> small.shape, small.classes, small.images_per_class
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

    def __post_init__(self) -> None:
        for name, kind in (("mean", float), ("std", float), ("class_names", str)):
            object.__setattr__(self, name, tuple(map(kind, getattr(self, name))))

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
    def images_per_class(self) -> int:
        """Images per class; if classes have different numbers, their mean, rounded down."""
        return len(self.images) // self.classes

    @property
    @plain_torch()
    def hard_labels(self) -> Tensor:
        """The class of each image, int64 [n].

        With soft labels the class is given by the position in the set, not by the label: its most
        probable class may be another.
        """
        if self.labels.ndim == 1:
            return self.labels
        return torch.arange(self.classes).repeat_interleave(self.images_per_class)

    @property
    def targets(self) -> Tensor:
        """The labels for a loss: int64 [n], or soft: float32 [n, classes]."""
        if self.labels.ndim == 1:
            return self.labels.long()
        labels = self.labels.float()
        return labels if self.labels.is_floating_point() else labels / labels.sum(1, keepdim=True)

    def normalised(self, data: ImageData | None = None) -> Tensor:
        """The images as network input, [n, c, h, w]: (pixels − mean) / std.

        With the normalisation of `data` if given, else with that of the set.
        """
        source = data or self
        images = self.images.float()
        mean, std = (images.new_tensor(v)[:, None, None] for v in (source.mean, source.std))
        return row_major((images - mean) / std)

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
    def from_tensors(
        cls,
        images: Any,
        labels: Any,
        *,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        normalised: bool | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> CondensedSet:
        """A set of images that other code has condensed: a copy of these tensors or arrays.

        Args:
            images: [n, c, h, w], floats, or uint8 from 0 to 255.
            labels: integers [n] in 0..classes-1, or soft, [n, classes]: probabilities or logits.
                With soft labels the images are sorted by their most probable classes, if each class
                is that of equally many; otherwise they must be ordered by class.
            mean: per channel, the normalisation of the real images, for pixels in 0..1; default:
                that of these images.
            std: as `mean`.
            class_names: default: 0, 1, ….
            normalised: whether images are normalised; those of an export are not. None: if they
                leave the range from 0 to 1, and, with `mean`, their mean is nearer to 0 than to it;
                then a note is printed. Pixels learnt without limits may look so too.
            provenance: where they come from.

        >>> import torch
        >>> from condense import CondensedSet
        >>> made = CondensedSet.from_tensors(torch.rand(4, 3, 8, 8), torch.tensor([0, 0, 1, 1]))
        >>> made.class_names, made.images_per_class
        (('0', '1'), 2)

        Raises:
            UserError: images and labels do not fit each other, images are normalised and `mean` and
                `std` are missing, or `provenance` is no mapping.
        """
        about = {} if provenance is None else provenance
        require_class("provenance", about, Mapping)
        fields = fields_of_tensors(images, labels, mean, std, class_names, normalised)
        return cls(**ordered_by_class(fields), provenance=dict(about))

    @classmethod
    @plain_torch()
    def merge(cls, sets: Iterable[CondensedSet]) -> CondensedSet:
        """One set of all classes of `sets`, which have none in common.

        The images become float32. `mean` and `std` are those of images of all classes alike. Hard
        labels become soft if another set has soft ones; then all classes must have as many images.

        >>> from condense import CondensedSet, condense, load
        >>> digits = load("digits")
        >>> parts = [condense(digits.with_classes(some), "random") for some in ([0, 1], [2, 3, 4])]
        >>> CondensedSet.merge(parts).class_names
        ('0', '1', '2', '3', '4')

        Raises:
            UserError: two sets have a class in common, or image sizes or labels do not go together.
        """
        sets = list(sets)
        provenance = {"merged": [part.provenance for part in sets]}
        return cls(**merged_fields(sets), provenance=provenance)

    @classmethod
    def from_stored(cls, stored: StoredImages, labels: Tensor, data: ImageData) -> CondensedSet:
        """A set of stored images, encoded with the normalisation of `data`."""
        images = stored.decode(data.mean, data.std)
        return cls(images, labels.cpu(), data.mean, data.std, data.class_names, stored=stored)

    @property
    @plain_torch()
    def bytes(self) -> int:
        """Bytes of images and soft labels in a file."""
        stored = self._still_stored()
        images = 4 * self.images.numel() if stored is None else stored.bytes
        return images + (self.labels.nbytes if self.labels.ndim > 1 else 0)

    def _still_stored(self) -> StoredImages | None:
        """`stored`, unless the images, which may be changed in place, are others now."""
        if self.stored is None:
            return None
        decoded = self.stored.decode(self.mean, self.std)
        if decoded.shape != self.images.shape:
            return None
        return self.stored if torch.allclose(decoded, self.images.to(decoded), atol=1e-5) else None

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
        counts = f"{self.classes} classes, {len(self.images)} images {shape_text(self.shape)}"
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
                f"the condensed images are {shape_text(self.shape)}, those of {data.name} are "
                f"{shape_text(data.shape)}: choose a set that was made from images of that size"
            )
        if self.class_names != data.class_names:
            own, others = (listed([*map(str, x.class_names)]) for x in (self, data))
            raise UserError(
                f"the condensed set is for the classes {own}, {data.name} has {others}: choose a "
                "set that was made for those"
            )

    @plain_torch()
    def grid(self, path: Path | str | None = None) -> Image.Image:
        """The images in a grid, one row per class; also written to `path` as PNG if given.

        A class with very many images is shown by its first ones.

        Raises:
            UserError: `path` does not end with .png, or cannot be written.
        """
        if path is not None:
            check_png(Path(path), "the picture")
        picture = _picture(self)
        if path is not None:
            with atomic_write(Path(path)) as aside:
                picture.save(aside, format="PNG")
        return picture

    @plain_torch()
    def save(self, path: Path | str) -> None:
        """Write the set as one safetensors file, atomically.

        Images other than those of `stored`, as after `dataclasses.replace`, are written as float32.

        Raises:
            UserError: the set is not as described at its attributes, so `load` would refuse it;
                `path` is named as another kind of file, or cannot be written.
        """
        if Path(path).suffix in SET_SUFFIXES[1:]:
            raise UserError(f"cannot write {path}: name it .safetensors; `export` writes .pt files")
        images = self.images.float() if self.images.is_floating_point() else self.images
        try:
            check_fields(
                images, self.labels, self.mean, self.std, self.class_names, self.distill_lrs
            )
            stored = self._still_stored()
            provenance = plain_provenance(self.provenance)
        except (UserError, ValueError, KeyError) as problem:
            raise UserError(f"cannot write {path}: {one_line(problem)}") from problem
        metadata = {
            "format": FORMAT,
            "mean": json.dumps(plain(self.mean)),
            "std": json.dumps(plain(self.std)),
            "class_names": json.dumps(self.class_names, ensure_ascii=False),
            "provenance": json.dumps(provenance, ensure_ascii=False, sort_keys=True),
        }
        if stored is None:
            tensors = {"images": images, "labels": self.labels}
        else:
            tensors = {**stored.tensors, "labels": self.labels}
            metadata.update(stored.metadata)
        if self.distill_lrs is not None:
            tensors["distill_lrs"] = self.distill_lrs
        write_tensors(path, tensors, metadata)

    @classmethod
    @plain_torch()
    def load(cls, path: Path | str) -> CondensedSet:
        """Read a set that `save` wrote.

        Raises:
            UserError: the file is missing, malformed, or not a condensed set.
        """
        try:
            tensors, metadata = read_tensors(path)
        except DamagedError as error:
            suffix = Path(path).suffix
            if suffix in ("", SET_SUFFIXES[0]):
                raise
            if suffix in SET_SUFFIXES:
                raise UserError(f"{path}: `condense.load_set` reads {suffix} files") from error
            raise UserError(
                f"{path} is not a condensed set: give the .safetensors or .pt file"
            ) from error
        try:
            return cls(**fields_of_file(tensors, metadata))
        except KeyError as error:
            raise UserError(f"{path} is not a condensed set: it has no {error}") from error
        except (UserError, ValueError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{path} is not a condensed set: {one_line(error)}") from error


def _picture(condensed: CondensedSet) -> Image.Image:
    """The images in a grid, enlarged by an integer factor; small images to `LARGE` pixels.

    Of a class with many images it has those that fit into `WIDEST` pixels, at least 10.
    """
    labels = condensed.hard_labels
    channels, height, width = condensed.shape
    columns = min(int(labels.bincount().max()), max(10, (WIDEST - GAP) // (width + GAP)))
    canvas = torch.ones(
        channels, condensed.classes * (height + GAP) + GAP, columns * (width + GAP) + GAP
    )
    filled = [0] * condensed.classes
    for index, row in enumerate(labels.tolist()):
        column = filled[row]
        filled[row] += 1
        if column >= columns:
            continue
        top, left = GAP + row * (height + GAP), GAP + column * (width + GAP)
        canvas[:, top : top + height, left : left + width] = condensed.images[index]
    picture = as_picture(canvas)
    most = max(4, LARGE // max(height, width))
    factor = max(1, min(most, LONGEST // max(picture.size)))
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )
