from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense import CondensedSet, ImageData, UserError, condense
from nas import Training, make_proxy, proxy_set
from nas.objective import train_architecture
from tests.helpers.images import blobs
from tests.helpers.tiny_space import SPACE


def test_a_set_is_normalised_as_the_images_of_the_search(data: ImageData) -> None:
    made = condense(data, "random", ipc=2)
    other = replace(made, mean=(0.1,), std=(0.9,))
    proxy = make_proxy("set", data, other, Training(), 0)
    assert proxy.images is not None
    torch.testing.assert_close(proxy.images, made.normalised(data))


def test_proxies(data: ImageData, tmp_path: Path) -> None:
    some = make_proxy("whole", data, None, Training(images=7, epochs=1), 0)
    assert some.images is not None
    assert len(some.images) == some.stored == 7
    assert "tensor" not in repr(some)
    brief = make_proxy("early-stopping", data, None, Training(steps=3, batch_size=5), 0)
    assert brief.images is not None
    assert (len(brief.images), brief.stored) == (60, 15)
    assert make_proxy("parameters", data, None, Training(), 0).images is None
    assert proxy_set("whole", data, None, 0) is None
    made = condense(data, "random", ipc=2)
    made.save(tmp_path / "set.safetensors")
    found = proxy_set(str(tmp_path / "set.safetensors"), data, None, 0)
    assert isinstance(found, CondensedSet)
    proxy = make_proxy("set", data, found, Training(), 0)
    assert proxy.images is not None
    assert torch.allclose(proxy.images, made.normalised(data))
    with pytest.raises(UserError, match="for the classes"):
        proxy_set(str(tmp_path / "set.safetensors"), blobs(classes=4), None, 0)
    with pytest.raises(
        UserError, match="are 8×8, those of the search are 16×16: give --image-size"
    ):
        proxy_set(str(tmp_path / "set.safetensors"), data.squared(16, "crop"), None, 0)
    unranked = train_architecture(
        SPACE, 0, make_proxy("parameters", data, None, Training(), 0), data, Training(), 0
    )
    assert unranked.score == unranked.parameters > 0


def test_a_set_of_larger_images_may_need_larger_ones_than_there_are(
    data: ImageData, tmp_path: Path
) -> None:
    """--image-size was advised, which enlarges no images."""
    path = tmp_path / "set.safetensors"
    condense(data.squared(16, "crop"), "random", ipc=1).save(path)
    with pytest.raises(
        UserError, match="--image-size 16 if the data set has such images, or a set"
    ):
        proxy_set(str(path), data, None, 0)


def test_soft_labels_are_trained_on_as_they_are(data: ImageData) -> None:
    hard = condense(data, "random", ipc=4)
    turned = torch.eye(3)[(hard.labels + 1) % 3]
    proxy = make_proxy("set", data, replace(hard, labels=turned), Training(), 0)
    assert proxy.labels is not None
    assert torch.equal(proxy.labels, turned)
    training = Training(epochs=40, batch_size=6, lr=0.05)
    misled = train_architecture(SPACE, 0, proxy, data, training, 0).score
    taught = train_architecture(
        SPACE, 0, make_proxy("set", data, hard, Training(), 0), data, training, 0
    ).score
    assert misled is not None
    assert taught is not None
    assert misled + 0.3 < taught
