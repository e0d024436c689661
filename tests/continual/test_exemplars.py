from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torchvision.transforms import ToTensor

from condense import UserError
from continual.exemplars import read


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ([0.5], "list"),
        (torch.zeros(8), r"a tensor \[8\]"),
        (torch.zeros(8, 8), r"a tensor \[8, 8\]: add a dimension for the channel"),
    ],
)
def test_an_item_without_an_image_is_one_line(image: Any, found: str) -> None:
    """ToTensor, which the message advised, refuses all these."""
    with pytest.raises(UserError, match=rf"\(image tensor \[c, h, w\], label\), not of {found}$"):
        read([(torch.zeros(1, 8, 8), 0), (image, 1)])


@pytest.mark.parametrize("image", [np.zeros((8, 8, 1), np.uint8), PIL.Image.new("L", (8, 8))])
def test_pictures_and_arrays_need_to_become_tensors(image: Any) -> None:
    kind = type(image).__name__
    with pytest.raises(UserError, match=f"not of {kind}: give its dataset the transform ToTensor"):
        read([(image, 0)])
    assert read([(ToTensor()(image), 0)]).images.shape == (1, 1, 8, 8)


def test_an_experience_without_images_is_one_line() -> None:
    with pytest.raises(UserError, match="must have images, and this one has none"):
        read([])
