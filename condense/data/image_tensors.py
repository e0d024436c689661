"""Tensors of images [n, c, h, w] and labels [n]: checks, sizes, hashes."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from condense.data.image_arrays import CHANNELS, Array
from condense.errors import UserError

CHUNK = 1024  # images converted to float at a time


def check_split(split: str, images: Tensor, labels: Tensor, classes: int) -> None:
    """Check images and labels of one split of `ImageData`.

    Raises:
        UserError: they are not uint8 [n, 1 or 3, h, w] and int64 [n] in 0..classes-1.
    """
    other = "; ImageData.from_arrays takes other types and layouts"
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in CHANNELS:
        raise UserError(
            f"x_{split} is {images.dtype} {list(images.shape)}, not uint8 [n, 1 or 3, height, "
            f"width]{other}"
        )
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        raise UserError(
            f"y_{split} is {labels.dtype} {list(labels.shape)}, not int64 [{len(images)}]{other}"
        )
    if labels.numel() and not labels.is_meta:
        low, high = map(int, labels.aminmax())
        if low < 0 or high >= classes:
            raise UserError(
                f"y_{split} has labels from {low} to {high}, not 0 to {classes - 1}{other}"
            )


def check_statistics(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> None:
    """Check `mean` and `std` of `ImageData`.

    Raises:
        UserError: they are not finite numbers for each channel, or `std` is not above 0.
    """
    for name, values in (("mean", mean), ("std", std)):
        if len(values) != channels or not all(map(math.isfinite, values)):
            raise UserError(f"{name} is {values}, not a number for each of {channels} channels")
    if min(std) <= 0:
        raise UserError(f"std is {std}; numbers above 0 are expected")


def shape_text(shape: tuple[int, int, int]) -> str:
    """Channels, height and width as text.

    >>> shape_text((3, 32, 32))
    '32×32 with 3 channels'
    """
    channels, height, width = shape
    return f"{height}×{width} with {channels} channel{'s' if channels > 1 else ''}"


def from_array(images: Array) -> Tensor:
    """A view `[n, c, h, w]` of `[n, h, w, c]`; of a copy, if PyTorch cannot share its memory.

    That is one that is read-only, as from a file mapped to memory, or runs backwards.
    """
    if not images.flags.writeable or min(images.strides) < 0:
        images = images.copy()
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def row_major(images: Tensor) -> Tensor:
    """The images [n, c, h, w] with the strides of a new tensor; a copy where others have to move.

    A convolution takes the layout of its input, and normalisation is several times slower where
    channels come last. `contiguous` alone is not enough: with one channel both layouts have the
    same bytes, and the strides of the channels-last layout stay.
    """
    return images.contiguous().view(images.shape)


def middle_square(images: Tensor) -> Tensor:
    """The square in the middle of each image."""
    height, width = images.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]


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
    for chunk in (labels, *torch.split(images, CHUNK)):
        digest.update(_bytes(chunk))
    return digest.hexdigest()


def _bytes(values: Tensor) -> memoryview:
    """The bytes of a tensor, also of a type that NumPy lacks, such as bfloat16."""
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data
