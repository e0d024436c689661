"""The images of a set, class by class."""

from __future__ import annotations

from dataclasses import replace

import torch

from condense.strips import strips
from tests.condense.test_condensed_set import a_set, a_soft_set


def test_every_class_has_its_images() -> None:
    condensed = replace(
        a_set(ipc=3), images=torch.arange(9).view(9, 1, 1, 1).expand(-1, 3, 8, 8) / 8
    )
    shuffled = torch.tensor([8, 0, 3, 1, 4, 2, 6, 5, 7])
    mixed = replace(condensed, images=condensed.images[shuffled], labels=condensed.labels[shuffled])
    made = strips(mixed)
    assert [name for name, _ in made.strips] == list(condensed.class_names)
    assert "9 images of 3 classes" in made.caption
    assert "all images" in made.caption
    for label, (_, image) in enumerate(made.strips):
        assert image.size == (3 * 9 + 1, 10)
        values = [image.getpixel((5 + 9 * column, 5))[0] for column in range(3)]
        expected = mixed.images[mixed.labels == label, 0, 0, 0] * 255
        assert values == expected.round().int().tolist()


def test_large_sets_and_images_are_cut_and_made_smaller() -> None:
    made = strips(a_soft_set())
    assert made.strips[0][1].size == (2 * 9 + 1, 10)
    large = replace(a_set(ipc=20), images=torch.rand(60, 3, 130, 260))
    shown = strips(large)
    assert "the first 12 of each class" in shown.caption
    assert shown.strips[0][1].size == (12 * 129 + 1, 66)
    assert strips(large, 3 * 3 * 64 * 128).strips[0][1].size == (130, 66)


def test_many_classes() -> None:
    many = replace(
        a_set(), images=torch.rand(101, 3, 4, 4), labels=torch.arange(101), class_names=("a",) * 101
    )
    made = strips(many)
    assert len(made.strips) == 100
    assert "of the first 100 classes" in made.caption
