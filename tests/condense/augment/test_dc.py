"""The evaluation's augmentation of DC, by hand and against its definition pixel by pixel."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from condense.augment import dc
from condense.seeds import generator

FILL = torch.tensor([7.0])


def numbered(height=6, width=6):
    return torch.arange(1.0, height * width + 1).view(1, height, width)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_crop_is_a_shift_by_at_most_four_pixels(down, across):
    image = numbered()
    made = dc.crop(image, FILL, (down, across))
    dy, dx = int(8 * down) - 4, int(8 * across) - 4
    for y in range(6):
        for x in range(6):
            inside = 0 <= y + dy < 6 and 0 <= x + dx < 6
            assert made[0, y, x] == (image[0, y + dy, x + dx] if inside else 7)


def test_a_smaller_image_has_zeros_around_it():
    image = torch.ones(1, 10, 10)
    made = dc.scale(image, FILL, (0, 0.5))
    expected = torch.zeros(1, 10, 10)
    expected[:, 1:9] = 1
    assert torch.equal(made, expected)


def test_a_larger_image_keeps_its_centre():
    made = dc.scale(numbered(10, 10), FILL, (0.999, 0.999))
    rows = [int(pixel * 10 / 11) for pixel in range(10)]
    assert torch.equal(made[0], numbered(10, 10)[0][rows][:, rows])


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_operations_keep_the_shape(first, second):
    images = torch.stack([numbered(9, 9)[0]] * 3)
    for operation in (dc.crop, dc.scale, dc.rotate):
        assert operation(images, torch.zeros(3), (first, second)).shape == images.shape


def test_no_rotation_changes_nothing_and_a_whole_one_is_in_sight():
    image = numbered(8, 8)
    assert torch.allclose(dc.rotate(image, FILL, (0.5, 0)), image)
    line = torch.zeros(1, 15, 15)
    line[0, 7] = 1
    turned = dc.rotate(line, torch.zeros(1), (0, 0))[0]
    diagonal = turned.diagonal(), turned.flip(1).diagonal()
    assert max(part.mean() for part in diagonal) > 0.5
    assert min(part.mean() for part in diagonal) < 0.2
    assert dc.rotate(torch.full((1, 8, 8), 3.0), torch.tensor([3.0]), (0.1, 0)).allclose(
        torch.tensor(3.0), atol=1e-4
    )


@pytest.mark.parametrize("shape", [(1, 32, 8), (3, 8, 40)])
def test_long_images_keep_their_shape(shape):
    made = dc.rotate(torch.ones(shape), torch.full(shape[:1], 0.5), (0, 0))
    assert made.shape == shape
    assert made.amin() > 0.3


def test_each_image_gets_one_of_the_three_operations():
    images = torch.rand(300, 1, 8, 8, generator=generator(0, "test"))
    made = dc.augment(images, generator(1, "test"))
    assert torch.equal(made, dc.augment(images, generator(1, "test")))
    assert not torch.equal(made, dc.augment(images, generator(2, "test")))
    fill = images.mean((0, 2, 3))
    draws = generator(1, "test")
    chosen = torch.randint(3, (300,), generator=draws).tolist()
    numbers = torch.rand(300, 2, generator=draws).tolist()
    for row, (operation, pair) in enumerate(zip(chosen, numbers, strict=True)):
        expected = (dc.crop, dc.scale, dc.rotate)[operation](images[row], fill, pair)
        assert torch.equal(made[row], expected)
    assert all(70 < chosen.count(operation) < 130 for operation in range(3))


@pytest.mark.parametrize("networks", [1, 3])
def test_each_batch_has_its_own_generator(networks):
    batches = torch.rand(networks, 5, 1, 8, 8, generator=generator(0, "test"))
    made = dc.augment_batches(batches, [generator(n, "own") for n in range(networks)])
    for number in range(networks):
        assert torch.equal(made[number], dc.augment(batches[number], generator(number, "own")))
