"""Classes with fewer images than the images per class."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods import automatic
from condense.methods.registry import method_named
from condense.methods.selection import large_classes
from tests.helpers.images import blobs


def uneven() -> ImageData:
    """20, 3 and 20 training images; the three are the middle class."""
    data = blobs()
    rows = data.train_indices_by_class()
    return data.train_subset(torch.cat([rows[0], rows[1][:3], rows[2]]))


@pytest.mark.parametrize("storage", ["float32", "pixels", "dct"])
def test_a_short_class_keeps_its_images_and_the_others_are_condensed(storage: str) -> None:
    data = uneven()
    made = condense(data, "random", ipc=5, storage=storage, short_classes="keep", preset="smoke")
    counts = made.labels.bincount().tolist()
    assert counts[1] == 3
    assert counts[0] == counts[2] >= 5
    assert (made.labels == made.labels.sort().values).all()
    assert made.class_names == ("a", "b", "c")
    real = data.x_train[data.y_train == 1].float() / 255
    short = made.images[made.labels == 1]
    if storage == "dct":
        assert (short - real).square().mean() < (short - real.flip(0)).square().mean()
    else:
        torch.testing.assert_close(short, real, atol=0.5 / 255, rtol=0)
    others = data.with_classes([0, 2])
    alone = condense(others, "random", ipc=5, storage=storage, preset="smoke")
    torch.testing.assert_close(made.images[made.labels != 1], alone.images, atol=0.01, rtol=0)


@pytest.mark.parametrize("storage", ["float32", "pixels"])
def test_a_short_class_is_stored_as_small_as_the_others(storage: str) -> None:
    """Else a network could know the classes by their sharpness."""
    data = uneven()
    settings = {"storage": storage, "factor": 2, "preset": "smoke"}
    made = condense(data, "random", ipc=5, short_classes="keep", **settings)
    alone = condense(data.with_classes([1]), "random", ipc=3, **settings)
    short = made.images[made.labels == 1]
    nearest = (short[:, None] - alone.images[None]).abs().amax((2, 3, 4)).amin(1)
    assert float(nearest.max()) < 1 / 255


def test_a_class_with_just_enough_images_is_not_short() -> None:
    assert large_classes(uneven(), 3) == [0, 1, 2]
    assert large_classes(uneven(), 4) == [0, 2]


def test_the_set_is_saved_as_it_is_stored(tmp_path) -> None:
    made = condense(uneven(), "dm", ipc=5, short_classes="keep", preset="smoke")
    made.save(tmp_path / "set.safetensors")
    assert CondensedSet.load(tmp_path / "set.safetensors").images.equal(made.images)


def test_otherwise_the_message_offers_it() -> None:
    with pytest.raises(UserError, match=r"images of b: .*\(--ipc 3\), or --short-classes keep"):
        condense(uneven(), "random", ipc=5)
    message = r"blobs has fewer than 21 training images of a, b, c: use fewer .* \(--ipc 3\)$"
    with pytest.raises(UserError, match=message):
        condense(uneven(), "random", ipc=21, short_classes="keep")


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("dd", {}),
        ("gtn", {}),
        ("ld", {}),
        ("kip", {"learn_labels": True}),
        ("dm", {"labels": "soft"}),
    ],
)
def test_it_is_not_offered_where_the_settings_refuse_it(method: str, more: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"images of b: use fewer images per class \(--ipc 3\)$"):
        condense(uneven(), method, preset="smoke", ipc=5, **more)


def test_soft_labels_and_learning_rates_need_equal_classes() -> None:
    for method, more in (("random", {"labels": "soft"}), ("dd", {}), ("ld", {})):
        with pytest.raises(UserError, match="short-classes keep"):
            method_named(method).preset("smoke", short_classes="keep", **more)


def test_a_set_to_start_from_has_other_classes_than_the_large_ones(tmp_path) -> None:
    path = tmp_path / "set.safetensors"
    condense(uneven(), "random", ipc=3, preset="smoke").save(path)
    with pytest.raises(UserError, match=r"short-classes keep .* use another --init"):
        condense(uneven(), "dm", ipc=5, init=str(path), short_classes="keep", preset="smoke")


def test_auto_counts_the_images_of_the_classes_that_it_condenses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(automatic, "MAX_GREY", 5)
    settings = method_named("auto").preset("cpu", ipc=4, short_classes="keep")
    large = uneven().with_classes([0, 2])
    assert automatic.few_or_many(uneven(), settings) == automatic.few_or_many(large, settings)
    assert automatic.few_or_many(large, settings)[0] == "herding"
