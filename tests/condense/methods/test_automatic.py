from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from condense import ImageData, UserError, condense, method_named
from condense.__main__ import _run_defaults
from condense.config.methods import MethodSettings
from condense.methods import automatic
from condense.methods.automatic import few_or_many
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets


@pytest.mark.parametrize(
    ("most", "pixels", "channels", "method"),
    [
        ({"MAX_COLOURED": 3, "MAX_GREY": 0}, 3 * 3 * 64, 3, "idm"),
        ({"MAX_COLOURED": 0, "MAX_GREY": 3}, 3 * 3 * 64, 1, "idm"),
        ({"MAX_COLOURED": 2, "MAX_GREY": 9}, 3 * 3 * 64, 3, "herding"),
        ({"MAX_COLOURED": 9, "MAX_GREY": 2}, 3 * 3 * 64, 1, "herding"),
        ({"MAX_COLOURED": 3, "MAX_GREY": 3}, 3 * 3 * 64 - 1, 3, "herding"),
    ],
)
def test_few_images_are_synthetic(
    most: dict[str, int], pixels: int, channels: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three images of 8×8 of each of three classes."""
    for name, count in most.items():
        monkeypatch.setattr(automatic, name, count)
    monkeypatch.setattr(automatic, "MAX_PIXELS", pixels)
    settings = method_named("auto").preset("smoke", ipc=3, storage="float32", labels="soft")
    name, chosen = few_or_many(blobs(shape=(channels, 8, 8)), settings)
    assert name == method
    expected = method_named(method).preset(
        "cpu", ipc=3, storage="float32", labels="soft", network=settings.network
    )
    assert chosen == expected


def test_a_set_is_that_of_the_chosen_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(automatic, "MAX_GREY", 0)  # herding, which takes less time
    made = condense(blobs(), "auto", preset="smoke", ipc=2)
    settings = few_or_many(blobs(), method_named("auto").preset("smoke", ipc=2))[1]
    assert made.provenance["method"] == "herding"
    assert same_sets(made, condense(blobs(), "herding", settings))


def test_it_is_the_default_of_the_cpu_preset() -> None:
    for preset, method in [("cpu", "auto"), ("smoke", "dsa"), ("paper", "dsa")]:
        assert _run_defaults(preset=preset).method == method
    assert type(_run_defaults(preset="cpu").settings) is MethodSettings
    assert _run_defaults(preset="cpu").settings.storage == "dct"


def test_a_setting_of_one_method_needs_its_name() -> None:
    with pytest.raises(UserError, match="unknown setting 'lr_img'"):
        condense(blobs(), "auto", lr_img=1.0)


def unequal() -> ImageData:
    """Blobs with 20, 19 and 18 training images of the classes."""
    data = blobs()
    kept = torch.ones(len(data.y_train), dtype=torch.bool)
    kept[[1, 2, 5]] = False  # labels are 0 1 2 0 1 2 …
    return replace(data, x_train=data.x_train[kept], y_train=data.y_train[kept])


@pytest.mark.parametrize("data", [blobs(), unequal()], ids=["equal classes", "unequal classes"])
@pytest.mark.parametrize("preset", ["smoke", "cpu"])
def test_whole_is_every_training_image_as_it_is(data: ImageData, preset: str) -> None:
    made = condense(data, "whole", preset=preset, ipc=1)

    def rows(images: torch.Tensor, labels: torch.Tensor) -> list[list[int]]:
        pixels = (255 * images).round().to(torch.int64).flatten(1)
        return sorted(torch.cat([labels[:, None], pixels], 1).tolist())

    assert rows(made.images, made.hard_labels) == rows(data.x_train / 255, data.y_train)


@pytest.mark.parametrize("changes", [{"storage": "dct"}, {"short_classes": "refuse"}])
def test_whole_has_no_other_storage(changes: dict[str, str]) -> None:
    with pytest.raises(UserError, match=r"must be .* for all training images"):
        condense(blobs(), "whole", preset="cpu", **changes)
