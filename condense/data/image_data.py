"""Image datasets in memory, for training and evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from condense.data.registry import DATASETS as DATASETS
from condense.errors import UserError

CHUNK = 1024  # images converted to float at a time


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images, both splits, as uint8 on one device; they are normalised when used.

    `x_*` are uint8 `[n, c, h, w]`, `y_*` int64 `[n]` in 0..classes-1; `mean` and `std` are per
    channel for pixels scaled to 0..1. `hflip`: whether a mirrored image still shows its class,
    which is false for digits.

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
        """Convert uint8 images `[…, c, h, w]` to float32: (pixel / 255 − mean) / std."""
        scale, shift = (constant.to(images.device) for constant in self._scale_and_shift)
        return images.to(torch.float32).mul_(scale).add_(shift)

    def denormalise(self, images: Tensor) -> Tensor:
        """Convert normalised images `[…, c, h, w]` to pixels (0 black, 1 white, not clamped)."""
        scale, shift = (constant.to(images.device) for constant in self._scale_and_shift)
        return (images - shift) / (scale * 255)

    @cached_property
    def _scale_and_shift(self) -> tuple[Tensor, Tensor]:
        mean, std = (
            torch.tensor(values, dtype=torch.float64).view(-1, 1, 1)
            for values in (self.mean, self.std)
        )
        scale, shift = 1 / (255 * std), -mean / std
        return scale.to(self.device, torch.float32), shift.to(self.device, torch.float32)

    def resized(self, size: int, channels: int) -> ImageData:
        """The dataset as `size`×`size` images with `channels` channels, rounded to uint8.

        Bilinear with antialiasing; a grey channel is repeated, as are `mean` and `std`. Returns
        the dataset itself if the shape is the same.

        Raises:
            UserError: colour images cannot be converted to grey.
        """
        if (channels, size, size) == self.shape:
            return self
        if channels not in (1, 3) or channels < self.shape[0]:
            raise UserError(f"{self.name}: {self.shape[0]} channels cannot become {channels}")
        repeats = channels // self.shape[0]
        return replace(
            self,
            x_train=resize(self.x_train, (size, size)).repeat(1, repeats, 1, 1),
            x_test=resize(self.x_test, (size, size)).repeat(1, repeats, 1, 1),
            mean=self.mean * repeats,
            std=self.std * repeats,
        )

    def train_subset(self, indices: Tensor) -> ImageData:
        """The dataset with only these images in the training split, in this order."""
        indices = indices.to(self.device)
        return replace(self, x_train=self.x_train[indices], y_train=self.y_train[indices])

    def with_classes(self, classes: Sequence[int]) -> ImageData:
        """Only these classes of both splits; labels become 0..k-1 in the given order.

        Raises:
            UserError: a class is repeated or does not exist, or a split has no image of them.
        """
        chosen = list(classes)
        distinct = set(chosen) & set(range(self.classes))
        if not chosen or len(distinct) < len(chosen):
            raise UserError(f"{self.name}: classes {chosen} are not some of 0..{self.classes - 1}")
        new_label = torch.full((self.classes,), -1, device=self.device)
        new_label[chosen] = torch.arange(len(chosen), device=self.device)
        train, test = new_label[self.y_train], new_label[self.y_test]
        if not (bool((train >= 0).any()) and bool((test >= 0).any())):
            raise UserError(f"{self.name}: classes {chosen} have no images to train or test with")
        return replace(
            self,
            x_train=self.x_train[train >= 0],
            y_train=train[train >= 0],
            x_test=self.x_test[test >= 0],
            y_test=test[test >= 0],
            class_names=tuple(self.class_names[label] for label in chosen),
        )

    def train_indices_by_class(self) -> tuple[Tensor, ...]:
        """Indices of the training images of each class, ascending; one tensor per class."""
        return self._train_indices_by_class

    @cached_property
    def _train_indices_by_class(self) -> tuple[Tensor, ...]:
        counts = torch.bincount(self.y_train, minlength=self.classes).tolist()
        return torch.split(torch.argsort(self.y_train, stable=True), counts)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the training data: images, labels, `mean`, `std`, `hflip`.

        It does not depend on the name or the device.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        about = (self.mean, self.std, self.hflip)
        return sha256(self.x_train, self.y_train, str(about))

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


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images [n, c, h, w] resized to this height and width; same dtype, uint8 is rounded.

    Bilinear with antialiasing.
    """
    if tuple(images.shape[2:]) == size:
        return images
    return torch.cat([_resize(chunk, size) for chunk in torch.split(images, CHUNK)])


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    pixels: Tensor = interpolate(images.to(torch.float32), size, mode="bilinear", antialias=True)
    return pixels.round_().to(torch.uint8) if images.dtype == torch.uint8 else pixels


def sha256(images: Tensor, labels: Tensor, *others: str) -> str:
    """SHA-256 (hex) of the bytes of images and labels, and of further texts."""
    digest = hashlib.sha256(str((tuple(images.shape), *others)).encode())
    digest.update(labels.cpu().contiguous().numpy().data)
    for chunk in torch.split(images, CHUNK):
        digest.update(chunk.cpu().contiguous().numpy().data)
    return digest.hexdigest()
