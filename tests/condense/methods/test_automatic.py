from __future__ import annotations

import pytest

from condense import UserError, condense, method_named
from condense.__main__ import _run_defaults
from condense.config.methods import MethodSettings
from condense.methods import automatic
from condense.methods.automatic import select_method
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets


@pytest.mark.parametrize(("few", "method"), [(3, "dm"), (2, "herding")])
def test_dm_is_chosen_up_to_some_images_per_class(
    few: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(automatic, "FEW", few)
    settings = method_named("auto").preset("smoke", ipc=3, storage="float32", labels="soft")
    name, chosen = select_method(blobs(), settings)
    assert name == method
    expected = method_named(method).preset(
        "cpu", ipc=3, storage="float32", labels="soft", network=settings.network
    )
    assert chosen == expected


def test_a_set_is_that_of_the_chosen_method() -> None:
    made = condense(blobs(), "auto", preset="smoke", ipc=2)
    settings = select_method(blobs(), method_named("auto").preset("smoke", ipc=2))[1]
    assert made.provenance["method"] == "dm"
    assert same_sets(made, condense(blobs(), "dm", settings))


def test_it_is_the_default_of_the_cpu_preset() -> None:
    for preset, method in [("cpu", "auto"), ("smoke", "dsa"), ("paper", "dsa")]:
        assert _run_defaults(preset=preset).method == method
    assert type(_run_defaults(preset="cpu").settings) is MethodSettings
    assert _run_defaults(preset="cpu").settings.storage == "dct"


def test_a_setting_of_one_method_needs_its_name() -> None:
    with pytest.raises(UserError, match="unknown setting 'lr_img'"):
        condense(blobs(), "auto", lr_img=1.0)
