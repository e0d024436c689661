from __future__ import annotations

import pytest
import torch

from condense.api import condense
from condense.data.image_data import ImageData
from condense.methods.registry import METHODS


@pytest.mark.parametrize("method", METHODS)
def test_no_method_uses_the_global_random_state(method: str, data: ImageData) -> None:
    before = torch.get_rng_state()
    condense(data, method, preset="smoke", ipc=1)
    assert torch.equal(torch.get_rng_state(), before)
