"""Images that start from another condensed set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condense.api import condense
from condense.condensed_set import CondensedSet
from condense.config.methods import DistributionMatching
from condense.config.network import Network
from condense.errors import UserError
from condense.methods.initialisation import initial_images
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
