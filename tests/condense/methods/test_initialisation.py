"""Images that start from another condensed set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.kernel import KernelInducingPoints
from condense.config.methods import Coreset, DistributionMatching, GradientMatching
from condense.config.network import Network
from condense.data.image_data import ImageData
from condense.errors import UserError
from condense.methods.initialisation import initial_images
from condense.methods.selection import select_randomly
from condense.runs.cache import Cache
from tests.helpers.images import blobs
from tests.helpers.methods import same_sets

TINY = DistributionMatching(ipc=2, network=Network(width=4), iterations=1, batch_real=4)


@pytest.fixture
def given(tmp_path: Path) -> CondensedSet:
    """A set of three images per class, at `set.safetensors`."""
    made = condense(blobs(), "random", ipc=3, storage="float32")
    made.save(tmp_path / "set.safetensors")
    return made


@pytest.mark.parametrize("ipc", [2, 3, 5])
def test_the_images_of_a_set_are_repeated_or_cut(
    given: CondensedSet, ipc: int, tmp_path: Path
) -> None:
    settings = replace(TINY, ipc=ipc, init=str(tmp_path / "set.safetensors"))
    found = initial_images(blobs(), settings, seed=0)
    whole = given.normalised().view(3, 3, *given.shape)
    assert torch.equal(found, whole[:, torch.arange(ipc) % 3])


@pytest.mark.parametrize("init", ["real", "herding"])
def test_only_a_small_class_repeats_its_images(
    init: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = with_one_image_of_the_last_class(blobs())
    settings = replace(TINY, ipc=1, factor=2, init=init, herding_steps=2)
    found = initial_images(data, settings, seed=0)
    assert [len(own.unique(dim=0)) for own in found] == [4, 4, 1]
    assert "c: 1 images or more for 4, the others are copies" in capsys.readouterr().err


def test_copies_that_are_sampled_are_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    data = with_one_image_of_the_last_class(blobs())
    initial_images(data, replace(TINY, ipc=1, factor=2, batch_syn=2), seed=0)
    initial_images(blobs(), replace(TINY, ipc=1, factor=2), seed=0)
    independent = GradientMatching(
        ipc=1, factor=2, network=TINY.network, augment_synthetic="independent"
    )
    initial_images(data, independent, seed=0)
    assert not capsys.readouterr().err


def with_one_image_of_the_last_class(data: ImageData) -> ImageData:
    """The data without the other training images of its last class."""
    kept = torch.cat([*data.train_indices_by_class()[:-1], data.train_indices_by_class()[-1][:1]])
    return data.train_subset(kept)


def test_a_set_of_another_repository_is_as_good(given: CondensedSet, tmp_path: Path) -> None:
    torch.save((given.normalised(), given.labels), tmp_path / "set.pt")
    found = initial_images(blobs(), replace(TINY, init=str(tmp_path / "set.pt")), seed=0)
    own = initial_images(blobs(), replace(TINY, init=str(tmp_path / "set.safetensors")), seed=0)
    torch.testing.assert_close(found, own)


def test_a_set_is_made_anew_from_a_file_that_may_change(
    given: CondensedSet, tmp_path: Path
) -> None:
    cache = Cache(tmp_path / "cache")
    settings = replace(TINY, init=str(tmp_path / "set.safetensors"))
    first = condense(blobs(), "dm", settings, cache=cache)
    replace(given, images=given.images.flip(0)).save(tmp_path / "set.safetensors")
    assert not same_sets(condense(blobs(), "dm", settings, cache=cache), first)


def test_what_is_no_set_of_such_images_is_one_line(given: CondensedSet, tmp_path: Path) -> None:
    path = str(tmp_path / "set.safetensors")
    with pytest.raises(UserError, match="unknown init 'hreding'; known: herding"):
        replace(TINY, init="hreding")
    with pytest.raises(UserError, match=r"none\.safetensors"):
        condense(blobs(), "dm", replace(TINY, init=str(tmp_path / "none.safetensors")))
    with pytest.raises(UserError, match="choose a set that was made from images of that size"):
        condense(blobs(shape=(1, 12, 12)), "dm", replace(TINY, init=path))


@pytest.mark.parametrize("init", ["real", "herding", "noise"])
def test_another_seed_starts_from_other_images(init: str) -> None:
    settings = replace(TINY, init=init, herding_steps=3)
    first, again, other = (initial_images(blobs(), settings, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_set_of_another_normalisation_is_normalised_as_the_images(
    given: CondensedSet, tmp_path: Path
) -> None:
    other = replace(given, mean=(0.1,), std=(0.9,), provenance={})
    other.save(tmp_path / "other.safetensors")
    settings = replace(TINY, ipc=3, init=str(tmp_path / "other.safetensors"))
    found = initial_images(blobs(), settings, seed=0)
    torch.testing.assert_close(found.flatten(0, 1), given.normalised())


def test_the_network_for_herding_is_trained_for_the_steps_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def herded(data: ImageData, settings: Coreset, count: int, seed: int, _: Any) -> Tensor:
        asked.append((settings.steps, settings.network))
        return select_randomly(data, count, seed)

    monkeypatch.setattr("condense.methods.initialisation.herd", herded)
    settings = replace(TINY, init="herding", herding_steps=7)
    initial_images(blobs(), settings, seed=0)
    assert asked == [(7, settings.network)]


@pytest.mark.parametrize("kind", [DistributionMatching, KernelInducingPoints])
def test_lr_img_falls_in_every_method(kind: Any) -> None:
    """In the middle of its only iteration, half a cosine has fallen to a half."""
    settings = kind(ipc=2, iterations=1, batch_real=4, lr_img=0.5, init="real")
    method = "dm" if kind is DistributionMatching else "kip"
    if method == "dm":
        settings = replace(settings, network=Network(width=4))
    constant = condense(blobs(), method, replace(settings, lr_img=0.25))
    falling = condense(blobs(), method, replace(settings, lr_img_schedule="cosine"))
    torch.testing.assert_close(falling.images, constant.images)
    assert not same_sets(constant, condense(blobs(), method, settings))
