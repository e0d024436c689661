"""Channels come before the pixels in memory, whatever a user gives: the other layout is slower."""

from dataclasses import replace

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.methods import Coreset
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.models.build import build
from tests.helpers.images import blobs


def is_row_major(images):
    return images.stride() == torch.empty(images.shape).stride()


def with_channels_last(images):
    """The same images; also those with one channel have the strides of this layout."""
    n, channels, height, width = images.shape
    last = torch.empty(n, height, width, channels, dtype=images.dtype).permute(0, 3, 1, 2)
    return last.copy_(images)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_a_data_set(channels):
    data = blobs(shape=(channels, 10, 10))
    given = with_channels_last(data.x_train)
    assert not is_row_major(given)
    for made in (
        ImageData.from_arrays(given.permute(0, 2, 3, 1).numpy(), data.y_train),
        ImageData.from_arrays(given, data.y_train),
        replace(data, x_train=given, x_test=with_channels_last(data.x_test)),
        data.resized(8, 3),
        data.squared(8, "crop"),
    ):
        for images in (made.x_train, made.x_test, made.normalise(made.x_train[2:5])):
            assert is_row_major(images)
    assert torch.equal(replace(data, x_train=given).x_train, data.x_train)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_a_set_from_tensors(channels):
    images, labels = torch.rand(4, channels, 8, 8), torch.tensor([0, 0, 1, 1])
    made = CondensedSet.from_tensors(with_channels_last(images), labels)
    assert is_row_major(made.normalised())
    assert torch.equal(made.normalised(), CondensedSet.from_tensors(images, labels).normalised())


@pytest.mark.parametrize("storage", ["float32", "ycbcr420", "dct"])
def test_images_of_a_stored_set(storage):
    data = blobs(shape=(3, 8, 8))
    settings = Coreset(ipc=1, network=Network(width=8), storage=storage)
    assert is_row_major(condense(data, "random", settings).normalised(data))


def test_features_of_grey_images_are_row_major():
    made = blobs(shape=(1, 8, 8))
    data = ImageData.from_arrays(made.x_train[:, 0], made.y_train)
    network = build(Network(width=8), data.shape, data.classes)
    features = []
    convolution = next(m for m in network.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda module, args, output: features.append(output))
    network(data.normalise(data.x_train[:4]))
    assert is_row_major(features[0])
