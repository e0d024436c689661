"""Tensors as pictures: the same as torchvision's, with rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from condense.pictures import as_picture


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_of_torchvision(channels: int) -> None:
    image = torch.rand(channels, 5, 7, generator=torch.Generator().manual_seed(0))
    picture = as_picture(image)
    theirs = to_pil_image((image * 255).round().to(torch.uint8))
    assert (picture.mode, picture.size) == (theirs.mode, (7, 5))
    assert np.array_equal(np.asarray(picture), np.asarray(theirs))


def test_values_outside_are_cut_off() -> None:
    picture = as_picture(torch.tensor([[[-0.5, 0.4999, 1.5]]]))
    assert np.asarray(picture).tolist() == [[0, 127, 255]]
