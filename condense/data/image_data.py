"""Image datasets in memory, for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense.data.arrays import ImageArrays, checked
from condense.data.datasets import as_array, as_tensor, read_datasets
from condense.data.folders import read
from condense.data.image_files import Fit, check_size
from condense.data.image_tensors import (
    check_split,
    check_statistics,
    from_array,
    middle_square,
    resize,
    row_major,
    sha256,
    shape_text,
)
from condense.data.registry import with_statistics
from condense.errors import UserError
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer
from condense.runs.paths import user_path
from condense.system.memory import check_memory
from condense.system.notes import note
from condense.system.plain_torch import plain_torch


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images, both splits, as uint8 on one device; they are normalised when used.

    `x_*` are uint8 `[n, c, h, w]`, `y_*` int64 `[n]` in 0..classes-1; `mean` and `std` are per
    channel for pixels scaled to 0..1. `hflip`: whether a mirrored image still shows its class,
    which is false for digits. `source` says how the images are read again: `path`, `size`, `fit`
    and `hflip` as for `load`, and `split`, if their source had no test split.

    The test split may be empty, if the data are only condensed. `from_arrays`, `from_dataset` and
    `from_folder` take images in other forms.

    >>> from condense import load
    >>> data = load("digits")
    >>> data.name, data.shape, data.classes
    ('digits', (1, 8, 8), 10)
    >>> data.normalise(data.x_train[:2]).dtype
    torch.float32
    >>> data.resized(16, 3).shape
    (3, 16, 16)
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    hflip: bool = True
    source: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("mean", float), ("std", float), ("class_names", str)):
            object.__setattr__(self, name, tuple(map(kind, getattr(self, name))))
        try:
            check_split("train", self.x_train, self.y_train, self.classes)
            check_split("test", self.x_test, self.y_test, self.classes)
            _check_whole(self)
        except UserError as problem:
            raise UserError(f"{self.name}: {problem}") from None
        for split in ("x_train", "x_test"):
            object.__setattr__(self, split, row_major(getattr(self, split)))

    @classmethod
    @plain_torch()
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        x_test: Any = None,
        y_test: Any = None,
        *,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        hflip: bool = True,
    ) -> ImageData:
        """Images and labels in arrays, tensors or lists.

        Args:
            x: [n, h, w, c], [n, c, h, w] or, grey, [n, h, w]; numbers in 0..255, floats in 0..1,
                or integers 0 and 1 (black and white). uint8 may stay in the memory of `x`, so do
                not change it afterwards.
            y: [n] or [n, 1]; integers or strings. Classes are sorted and numbered from 0.
            x_test: as `x`; None: a fifth of each class is set aside, always the same images.
            y_test: as `y`.
            name: for messages, and in the provenance of condensed sets.
            class_names: names of the classes 0, 1, ….
            hflip: whether a mirrored image still shows its class.

        >>> import numpy as np
        >>> from condense import ImageData
        >>> pixels = np.random.default_rng(0).random((20, 8, 8, 3))
        >>> data = ImageData.from_arrays(pixels, ["cat", "dog"] * 10, pixels, ["cat", "dog"] * 10)
        >>> data.shape, data.class_names, data.x_train.dtype
        ((3, 8, 8), ('cat', 'dog'), torch.uint8)

        Raises:
            UserError: the arrays are not images with labels.
        """
        given = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        given["class_names"] = None if class_names is None else list(class_names)
        content = {
            key: as_array(value, f"{name}: key {key}")
            for key, value in given.items()
            if value is not None
        }
        return cls.of(checked(content, name), name, hflip)

    @classmethod
    @plain_torch()
    def from_dataset(
        cls,
        train: Any,
        test: Any = None,
        *,
        name: str = "dataset",
        size: int | None = None,
        fit: Fit = "crop",
        hflip: bool = True,
    ) -> ImageData:
        """A data set of torch, torchvision or Hugging Face, read once, without augmentation.

        Args:
            train: gives (image, label) by number, or a dictionary with an image and a label. Images
                are PIL images, or tensors or arrays that are not normalised.
            test: as `train`; None: a fifth of each class is set aside, always the same images. Its
                classes have the names of those of `train`, their numbers may differ.
            name: for messages, and in the provenance of condensed sets.
            size: side of the images; needed if sizes differ.
            fit: crop (the square in the middle) or resize (the whole image).
            hflip: whether a mirrored image still shows its class.

        Raises:
            UserError: an item is not an image with a label, or sizes differ.
        """
        check_size(size, fit)
        data = cls.of(read_datasets(train, test, size, fit), name, hflip)
        return data if size is None else data.squared(size, fit)

    @classmethod
    @plain_torch()
    def from_folder(
        cls,
        path: str | Path,
        *,
        size: int | None = None,
        fit: Fit = "crop",
        hflip: bool = True,
        cache: Cache | None = None,
        progress: Checkpointer | None = None,
    ) -> ImageData:
        """A folder of images, `CLASS/**` or `train/CLASS/**` and `test/CLASS/**`, or an archive.

        Args:
            path: the folder, or an `.npz` archive.
            size: side of the images; needed if sizes differ.
            fit: crop (the square in the middle) or resize (the whole image).
            hflip: whether a mirrored image still shows its class.
            cache: keeps the decoded images of a large folder; None: they are decoded every time.
            progress: receives reports while the images of a folder are decoded.

        Raises:
            UserError: there are no such images, one cannot be read, or sizes differ.
        """
        check_size(size, fit)
        path = user_path(path, "the data set")
        arrays = read(path, size, fit, cache, progress)
        data = cls.of(arrays, path.stem or path.resolve().name)
        data = replace(data, source={"path": str(path.resolve()), **data.source})
        data = data if size is None else data.squared(size, fit)
        return data if hflip else data.without_hflip()

    @classmethod
    def of(cls, arrays: ImageArrays, name: str, hflip: bool = True) -> ImageData:
        """The images of `arrays`; prints their notes on stderr."""
        for text in arrays.notes:
            note(f"{name}: {text}")
        arrays = with_statistics(arrays)
        assert arrays.mean is not None
        assert arrays.std is not None
        return cls(
            name=name,
            x_train=from_array(arrays.x_train),
            y_train=torch.from_numpy(arrays.y_train),
            x_test=from_array(arrays.x_test),
            y_test=torch.from_numpy(arrays.y_test),
            mean=arrays.mean,
            std=arrays.std,
            class_names=arrays.class_names or tuple(map(str, range(arrays.classes))),
            hflip=hflip,
            source=arrays.source,
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.x_train.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def device(self) -> torch.device:
        """The device of the images."""
        return self.x_train.device

    def to(self, device: torch.device | str) -> ImageData:
        """The same dataset on another device (itself, if it is there already)."""
        x_train = self.x_train.to(device)
        if x_train is self.x_train:
            return self
        others = {key: getattr(self, key).to(device) for key in ("y_train", "x_test", "y_test")}
        return replace(self, x_train=x_train, **others)

    def normalise(self, images: Tensor) -> Tensor:
        """Convert pixels 0..255, `[…, c, h, w]`, to float32: (pixel / 255 − mean) / std."""
        scale, shift = (constant.to(images.device) for constant in self._scale_and_shift)
        return images.to(torch.float32, copy=True).mul_(scale).add_(shift)

    def denormalise(self, images: Tensor) -> Tensor:
        """Convert normalised images `[…, c, h, w]` to pixels (0 black, 1 white, not clamped)."""
        scale, shift = (constant.to(images.device) for constant in self._scale_and_shift)
        return (images - shift) / (scale * 255)

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float64, device="cpu").view(-1, 1, 1)
            for values in (self.mean, self.std)
        )
        scale, shift = 1 / (255 * std), -mean / std
        return scale.to(self.device, torch.float32), shift.to(self.device, torch.float32)

    def resized(self, size: int | Sequence[int], channels: int) -> ImageData:
        """The dataset as images of `size` with `channels` channels, rounded to uint8.

        Bilinear with antialiasing; a grey channel is repeated, as are `mean` and `std`. Returns
        the dataset itself if the shape is the same.

        Args:
            size: height and width; one number for both.
            channels: 1 or 3.

        Raises:
            UserError: colour images cannot be converted to grey.
        """
        height, width = size if isinstance(size, Sequence) else (size, size)
        sides = (height, width)
        if (channels, *sides) == self.shape:
            return self
        if channels not in (1, 3) or channels < self.shape[0]:
            raise UserError(f"{self.name}: {self.shape[0]} channels cannot become {channels}")
        repeats = channels // self.shape[0]
        return replace(
            self,
            x_train=resize(self.x_train, sides).repeat(1, repeats, 1, 1),
            x_test=resize(self.x_test, sides).repeat(1, repeats, 1, 1),
            mean=self.mean * repeats,
            std=self.std * repeats,
        )

    def without_hflip(self) -> ImageData:
        """The same images, but no method uses mirrored ones."""
        return replace(self, hflip=False, source={**self.source, "hflip": False})

    def squared(self, size: int, fit: Fit = "crop") -> ImageData:
        """The dataset as `size`×`size` images.

        Args:
            size: side of the images.
            fit: crop (the square in the middle) or resize (the whole image).

        Raises:
            UserError: the size or `fit` is invalid, or the images exceed the memory.
        """
        check_size(size, fit)
        channels, height, width = self.shape
        count = len(self.x_train) + len(self.x_test)
        # Twice, because the parts of a split are joined.
        check_memory(2 * count * channels * size**2, f"{self.name} with size {size}: it")
        data = self
        if fit == "crop" and height != width:
            train, test = middle_square(self.x_train), middle_square(self.x_test)
            data = replace(self, x_train=train, x_test=test)
        resized = data.resized(size, channels)
        return replace(resized, source={**self.source, "size": size, "fit": fit})

    def train_subset(self, indices: Tensor | Sequence[int]) -> ImageData:
        """The dataset with only these images in the training split, in this order."""
        if not isinstance(indices, Tensor):
            indices = as_tensor(indices, "indices")
        indices = indices.to(self.device)
        return replace(self, x_train=self.x_train[indices], y_train=self.y_train[indices])

    def with_classes(self, classes: Sequence[int]) -> ImageData:
        """Only these classes of both splits; labels become 0..k-1 in the given order.

        Raises:
            UserError: a class is repeated or does not exist, or none of them has training images.
        """
        numbers = as_array(list(classes), f"{self.name}: classes")
        chosen = numbers.tolist()
        whole = numbers.dtype.kind in "iu" and numbers.ndim == 1  # a mask is none, [] has floats
        if not whole or len(set(chosen) & set(range(self.classes))) < len(chosen):
            raise UserError(f"{self.name}: classes {chosen} are not some of 0..{self.classes - 1}")
        new_label = torch.full((self.classes,), -1, device=self.device)
        new_label[chosen] = torch.arange(len(chosen), device=self.device)
        train, test = new_label[self.y_train], new_label[self.y_test]
        if not bool((train >= 0).any()):
            raise UserError(f"{self.name}: classes {chosen} have no images to train with")
        return replace(
            self,
            x_train=self.x_train[train >= 0],
            y_train=train[train >= 0],
            x_test=self.x_test[test >= 0],
            y_test=test[test >= 0],
            class_names=tuple(self.class_names[label] for label in chosen),
        )

    @property
    def train_counts(self) -> Tensor:
        """Number of training images of each class, int64 [classes]."""
        return torch.bincount(self.y_train, minlength=self.classes)

    def train_indices_by_class(self) -> tuple[Tensor, ...]:
        """Indices of the training images of each class, ascending; one tensor per class."""
        return self._train_indices_by_class

    @cached_property
    def _train_indices_by_class(self) -> tuple[Tensor, ...]:
        return torch.split(torch.argsort(self.y_train, stable=True), self.train_counts.tolist())

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training data: images, labels, `mean`, `std`, `hflip`.

        It does not depend on the name or the device.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        about = (self.mean, self.std, self.hflip)
        return sha256(self.x_train, self.y_train, str(about))

    def __repr__(self) -> str:
        counts = f"{len(self.x_train)} training and {len(self.x_test)} test images"
        about = f"{self.classes} classes, {counts} {shape_text(self.shape)}"
        return f"ImageData({self.name}, {about}, {self.device})"

    def describe(self) -> dict[str, object]:
        """Name, counts, shape and hashes, to identify the images of a result."""
        return {
            "name": self.name,
            "train": len(self.x_train),
            "test": len(self.x_test),
            "classes": self.classes,
            "shape": list(self.shape),
            "sha256": self.fingerprint(),
            "sha256_test": sha256(self.x_test, self.y_test),
        }


def _check_whole(data: ImageData) -> None:
    """Check what both splits share; UserError if it is not as `ImageData` says."""
    if not len(data.x_train):
        raise UserError("no training image")
    if data.x_test.shape[1:] != data.x_train.shape[1:]:
        raise UserError(
            f"images of x_test are {list(data.x_test.shape[1:])}, those of x_train "
            f"{list(data.x_train.shape[1:])}"
        )
    if len(set(data.class_names)) < data.classes:
        raise UserError("two classes have the same name")
    check_statistics(data.mean, data.std, data.shape[0])
