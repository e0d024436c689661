from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.seeds import generator
from condense.storage.quantise import quantise

LOW, HIGH = torch.zeros(2, 1, 1), torch.ones(2, 1, 1)


def test_real_pixels_are_kept_exactly() -> None:
    levels = torch.arange(256).view(1, 1, 16, 16).repeat(1, 2, 1, 1)
    stored = quantise(levels / 255, LOW, HIGH)
    assert torch.equal(stored.levels, levels.to(torch.uint8))
    torch.testing.assert_close(stored.values(), levels / 255)


@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 10**6))
def test_the_error_is_half_a_level_at_most(shift: float, scale: float, seed: int) -> None:
    plane = torch.randn(3, 2, 4, 4, generator=generator(seed)) * scale + shift
    stored = quantise(plane, LOW, HIGH)
    step = (stored.high - stored.low) / 255
    assert ((stored.values() - plane).abs() <= 0.501 * step + 1e-5 * plane.abs()).all()


def test_each_channel_has_its_own_range() -> None:
    plane = torch.stack([torch.full((4, 4), 0.5), torch.full((4, 4), 3.0)])[None]
    stored = quantise(plane, LOW, HIGH)
    assert stored.high.flatten().tolist() == [1.0, 3.0]
    assert stored.low.flatten().tolist() == [0.0, 0.0]
