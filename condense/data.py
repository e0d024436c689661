"""Image sets in memory, ready to learn from, and how to get one by its name or its path."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from condense.datasets import DATASETS as DATASETS
from condense.datasets import data_root, fetch, with_statistics
from condense.errors import UnavailableError, UserError, unknown
from condense.files import is_file
from condense.image_arrays import Array, ImageArrays
from condense.image_files import read
from condense.paths import user_path

CHUNK = 1024  # images that are worked on at once where floats are made of them


@dataclass(frozen=True, eq=False)
class ImageData:
    """Labelled images, both splits, as uint8 on one device; they are normalised when used.

    `x_*` are uint8 `[n, c, h, w]`, `y_*` int64 `[n]` in 0..classes-1; `mean` and `std` are per
    channel for pixels scaled to 0..1. `mirror` says whether a mirrored image still shows its
    class, which is false of digits.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_test: Tensor
    y_test: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    mirror: bool = True

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
        """Where the images are."""
        return self.x_train.device

    def to(self, device: torch.device | str) -> ImageData:
        """The same set on another device (itself, when it is there already)."""
        x_train = self.x_train.to(device)
        if x_train is self.x_train:
            return self
        others = {key: getattr(self, key).to(device) for key in ("y_train", "x_test", "y_test")}
        return replace(self, x_train=x_train, **others)

    def normalise(self, images: Tensor) -> Tensor:
        """Make float32 of uint8 images `[…, c, h, w]`: (pixel / 255 − mean) / std."""
        scale, shift = (constant.to(images.device) for constant in self._scale_and_shift)
        return images.to(torch.float32).mul_(scale).add_(shift)

    def denormalise(self, images: Tensor) -> Tensor:
        """Make pixels (0 black, 1 white, not clamped) of normalised images `[…, c, h, w]`."""
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
        """The same set as `size`×`size` images with `channels` channels, rounded to uint8 again.

        Bilinear with antialiasing; grey is repeated, and with it `mean` and `std`. The set itself
        when it is so already.

        Raises:
            UserError: colour images were to become grey.
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
        """The set with only these images in its training split, in this order."""
        indices = indices.to(self.device)
        return replace(self, x_train=self.x_train[indices], y_train=self.y_train[indices])

    def with_classes(self, classes: Sequence[int]) -> ImageData:
        """Only these classes of both splits; labels become 0..k-1 in the order given.

        Raises:
            UserError: a class is named twice or does not exist, or none of them has an image.
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
        """Where the training images of each class are: ascending indices, one tensor a class."""
        return self._train_indices_by_class

    @cached_property
    def _train_indices_by_class(self) -> tuple[Tensor, ...]:
        counts = torch.bincount(self.y_train, minlength=self.classes).tolist()
        return torch.split(torch.argsort(self.y_train, stable=True), counts)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of what is learnt from: training images, labels, `mean`, `std`, `mirror`.

        The same for the same images, whatever the set is called and wherever it is.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        about = (self.mean, self.std, self.mirror)
        return sha256(self.x_train, self.y_train, str(about))

    def describe(self) -> dict[str, object]:
        """Name, counts, shape and hashes: which images a result was measured on."""
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
    """Images [n, c, h, w] at this height and width, in their own type: uint8 is rounded.

    Bilinear with antialiasing.
    """
    if tuple(images.shape[2:]) == size:
        return images
    return torch.cat([_resize(chunk, size) for chunk in torch.split(images, CHUNK)])


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    pixels: Tensor = interpolate(images.to(torch.float32), size, mode="bilinear", antialias=True)
    return pixels.round_().to(torch.uint8) if images.dtype == torch.uint8 else pixels


def sha256(images: Tensor, labels: Tensor, *others: str) -> str:
    """SHA-256 (hex) of the bytes of images and labels, and of what else is said of them."""
    digest = hashlib.sha256(str((tuple(images.shape), *others)).encode())
    digest.update(labels.cpu().contiguous().numpy().data)
    for chunk in torch.split(images, CHUNK):
        digest.update(chunk.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def load(name_or_path: str | Path, root: Path | None = None) -> ImageData:
    """Load an image set by the name of a known one, or one's own from an `.npz` or a folder.

    A known set is looked for as ROOT/NAME.npz (ROOT is `root`, else `$CONDENSE_DATA`, else the
    user's cache folder), and otherwise downloaded and written there.

    >>> load("digits").shape
    (1, 8, 8)

    Raises:
        UserError: there is no such set, or its file cannot be used; one line that says why.
    """
    name = str(name_or_path)
    if name in DATASETS:
        return _from_arrays(name, fetch(name, data_root(root)), DATASETS[name].mirror)
    path = user_path(name, "the data set")
    if not (path.exists() or path.suffix == ".npz" or path.name != name):
        raise unknown("data set", name, DATASETS)
    return _from_arrays(path.stem, with_statistics(read(path)), mirror=True)


def load_or_embedded(
    names: Sequence[str], embedded: Sequence[str], root: Path | None = None
) -> list[ImageData]:
    """Load the real sets `names`; where one cannot be had, say so loudly and load `embedded`.

    Raises:
        UserError: a file of a real set is there but cannot be used.
    """
    try:
        return [load(name, root) for name in names]
    except UnavailableError as reason:
        print(
            f"WARNING: {', '.join(names)} cannot be had, so {', '.join(embedded)} "
            f"{'stands' if len(embedded) == 1 else 'stand'} in ({reason})",
            file=sys.stderr,
        )
        return [load(name, root) for name in embedded]


def available(name_or_path: str | Path, root: Path | None = None) -> bool:
    """Whether `load` needs no network for this set: it is embedded, or on disk already.

    Raises:
        UserError: no file could have this path.
    """
    name = str(name_or_path)
    if name not in DATASETS:
        return user_path(name, "the data set").exists()
    return DATASETS[name].make is not None or is_file(data_root(root) / f"{name}.npz")


def _from_arrays(name: str, arrays: ImageArrays, mirror: bool) -> ImageData:
    assert arrays.mean is not None
    assert arrays.std is not None
    return ImageData(
        name=name,
        x_train=_images(arrays.x_train),
        y_train=torch.from_numpy(arrays.y_train),
        x_test=_images(arrays.x_test),
        y_test=torch.from_numpy(arrays.y_test),
        mean=arrays.mean,
        std=arrays.std,
        class_names=arrays.class_names or tuple(str(label) for label in range(arrays.classes)),
        mirror=mirror,
    )


def _images(images: Array) -> Tensor:
    """`[n, c, h, w]` in its natural order of memory, from `[n, h, w, c]`."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
