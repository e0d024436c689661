"""What a memory has by default."""

from __future__ import annotations

from dataclasses import replace

import pytest

from condense import METHODS, UserError
from condense.cli.flags import parse
from continual.run import PROG, defaults
from continual.settings import (
    BALANCED_REPLAY,
    EEIL_REPLAY,
    SPLIT_REPLAY,
    TWO_CLASS_LRS,
    ContinualConfig,
    ReplayConfig,
    condensing_preset,
)


def test_what_a_memory_has_by_default() -> None:
    ours = defaults("cpu", "dsa")
    assert replay_config(defaults("paper")) == replay_config(defaults("paper", "dm")) == EEIL_REPLAY
    assert replay_config(ours) == replay_config(defaults("cpu", "herding")) == BALANCED_REPLAY
    assert ours == defaults("cpu", "dsa", "no such stream")
    assert ours.condensing == METHODS["dsa"].preset("cpu", iterations=10)
    assert defaults("cpu", "dm").condensing == METHODS["dm"].preset("cpu")
    split = defaults("cpu", "dsa", "split-cifar10")
    assert replay_config(split) == SPLIT_REPLAY
    assert defaults("cpu", "dsa", "own.npz:classes=2") == split
    assert defaults("paper", "dsa", "split-cifar10") == defaults("paper")
    for head in ("domain", "task", "class"):
        flags = ["--preset", "cpu", "--stream", "own.npz:classes=2", "--head", head]
        found = parse(defaults, flags, PROG)
        assert replay_config(found) == replace(SPLIT_REPLAY, er_ace=head == "class")
    halves = [replay_config(defaults("cpu", batch_size=size)).batch_size_mem for size in (7, 1)]
    assert halves == [3, None]


@pytest.mark.parametrize("preset", ["paper", "cpu", "smoke"])
@pytest.mark.parametrize("memory", METHODS)
def test_every_method_is_a_memory(memory: str, preset: str) -> None:
    settings = defaults(preset, memory)
    whole = preset == "paper" or memory in ("dd", "gtn", "ld")
    assert settings.storage == ("pixels" if whole else "dct")


def test_pixels_are_condensed_whole_or_with_a_factor() -> None:
    assert defaults("cpu", "dsa", factor=2).storage == "pixels"  # dct has no factor
    whole = defaults("cpu", "dsa", "split-cifar10", storage="pixels")
    assert (whole.storage, whole.factor, whole.condensing.storage) == ("pixels", 1, "float32")
    assert {name: getattr(whole.condensing, name) for name in TWO_CLASS_LRS} == TWO_CLASS_LRS
    own = defaults("cpu", "dsa", "digits:classes=2", storage="pixels")
    assert own.condensing == whole.condensing
    matched = [defaults("cpu", "dm", stream, "pixels") for stream in ("split-cifar10", "auto")]
    assert matched[0].condensing == matched[1].condensing


@pytest.mark.parametrize(
    ("factor", "depth", "rate"), [(1, None, 3), (2, 2, 1), (3, 2, 1), (4, 1, 1)]
)
def test_smaller_images_are_condensed_by_a_shallower_network(factor, depth, rate) -> None:
    condensing = defaults("cpu", "dsa", "auto", "pixels", str(factor)).condensing
    assert (condensing.network.depth, condensing.lr_img) == (depth, rate)
    assert defaults("cpu", "dm", "auto", "pixels", factor).condensing == METHODS["dm"].preset(
        "cpu", storage="float32"
    )
    published = condensing_preset("dsa", "paper", factor)
    assert (published.network.depth, published.lr_img) == (depth, 0.1)
    flags = ["--preset", "cpu", "--factor", str(factor), "--condensing.network.depth", "3"]
    assert parse(defaults, flags, PROG).condensing.network.depth == 3


def test_an_invalid_factor_is_one_line() -> None:
    for value in ("0", "two"):
        with pytest.raises(UserError, match="factor"):
            parse(defaults, ["--preset", "cpu", "--factor", value], PROG)


def replay_config(settings: ContinualConfig) -> ReplayConfig:
    config = settings.eeil
    return ReplayConfig(
        settings.storage,
        settings.factor,
        settings.store_logits,
        config.batch_size_mem,
        config.er_ace,
    )
