from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.seeds import generator
from condense.storage import bits
from condense.storage.bits import pack, packed_size, unpack


def test_packed_bytes_by_hand() -> None:
    """5 in three bits and 2 in two bits: 10101 from the lowest bit, so 0b10101."""
    packed = pack(torch.tensor([[5, 2]]), torch.tensor([3, 2]))
    assert packed.tolist() == [[0b10101]]


@given(st.lists(st.integers(1, 8), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 99))
def test_numbers_are_the_same_after_unpacking(widths: list[int], rows: int, seed: int) -> None:
    columns = torch.tensor(widths)
    numbers = torch.randint(256, (rows, len(widths)), generator=generator(seed)) % 2**columns
    packed = pack(numbers, columns)
    assert packed.shape == (rows, packed_size(columns))
    assert packed_size(columns) == (sum(widths) + 7) // 8
    assert torch.equal(unpack(packed, columns), numbers)


def test_many_rows_are_packed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = torch.tensor([3, 8, 1])
    numbers = torch.randint(256, (7, 3), generator=generator(0)) % 2**columns
    packed = pack(numbers, columns)
    monkeypatch.setattr(bits, "ROWS", 3)
    assert torch.equal(pack(numbers, columns), packed)
    assert torch.equal(unpack(packed, columns), numbers)
