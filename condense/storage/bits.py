"""Packing numbers of different bit widths into bytes."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 500
"""Rows at a time: each of their bits is a number of 8 bytes on the way."""


def packed_size(widths: Tensor) -> int:
    """Bytes of one row of numbers with these bit widths, int64 [columns]."""
    return -(-int(widths.sum()) // 8)


def pack(numbers: Tensor, widths: Tensor) -> Tensor:
    """Rows of numbers as rows of bytes, uint8 [n, packed_size(widths)].

    Args:
        numbers: int64 [n, columns], from 0 to 2^width − 1.
        widths: int64 [columns], bits per number.
    """
    return torch.cat([_pack(some, widths) for some in numbers.split(ROWS)])


def unpack(packed: Tensor, widths: Tensor) -> Tensor:
    """The numbers int64 [n, columns] that `pack` packed."""
    return torch.cat([_unpack(some, widths) for some in packed.split(ROWS)])


def _pack(numbers: Tensor, widths: Tensor) -> Tensor:
    column, shift = _bit_positions(widths)
    bits = (numbers[:, column] >> shift) & 1
    bits = torch.nn.functional.pad(bits, (0, 8 * packed_size(widths) - len(column)))
    return (bits.view(len(numbers), -1, 8) << torch.arange(8)).sum(2).to(torch.uint8)


def _unpack(packed: Tensor, widths: Tensor) -> Tensor:
    column, shift = _bit_positions(widths)
    bits = (packed.to(torch.int64)[:, :, None] >> torch.arange(8)) & 1
    values = bits.flatten(1)[:, : len(column)] << shift
    return torch.zeros(len(packed), len(widths), dtype=torch.int64).index_add(1, column, values)


def _bit_positions(widths: Tensor) -> tuple[Tensor, Tensor]:
    """For each bit of a row, its column and its position in the number, from the lowest."""
    column = torch.arange(len(widths)).repeat_interleave(widths)
    first = (widths.cumsum(0) - widths)[column]
    return column, torch.arange(len(column)) - first
