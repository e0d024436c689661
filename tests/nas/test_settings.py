"""The settings of a search, and their presets."""

from __future__ import annotations

import os

from condense import (
    GradientMatching,
    preset,
)
from nas import search
from nas.settings import training_preset
from tests.helpers.modules import run_module
from tests.helpers.processes import ROOT
from tests.helpers.tiny_searches import in_an_empty_folder  # noqa: F401


def test_presets_are_the_published_values() -> None:
    paper = search.defaults("paper", "dsa")
    assert (paper.n_trials, paper.image_size, paper.top_fraction) == (None, None, 0.05)
    assert (paper.training.epochs, paper.training.batch_size) == (300, 100)
    assert training_preset("paper", "early-stopping").steps == 300
    assert training_preset("paper", "whole").epochs == 100
    assert search.defaults("paper", "whole").condensing is None
    assert search.defaults("cpu", "dsa").n_trials == 36


def test_epochs_replace_the_steps_of_the_preset() -> None:
    assert search.defaults("cpu", "dsa").training.steps == 300
    assert search.defaults("cpu", "dsa", training_epochs="5").training.steps is None
    flags = ["--preset", "smoke", "--proxy", "random"]
    assert search.parse(search.defaults, flags, search.PROG).retraining.steps == 8
    for group in ("training", "retraining"):
        for proxy in ("random", "early-stopping"):
            changed = [*flags, "--proxy", proxy, f"--{group}.epochs", "3"]
            found = getattr(search.parse(search.defaults, changed, search.PROG), group)
            assert (found.epochs, found.steps) == (3, None)


def test_the_condensing_settings_are_those_of_the_storage() -> None:
    flags = ["--preset", "cpu", "--proxy", "dsa", "--condensing.storage", "float32"]
    found = search.parse(search.defaults, flags, search.PROG).condensing
    assert found == preset(GradientMatching, "cpu", storage="float32")


def test_an_unknown_proxy_is_one_line() -> None:
    flags = ("--proxy", "dssa", "--preset", "smoke", "--device", "cpu")
    wrong = run_module("nas.search", *flags, folder=ROOT, environment=os.environ)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert len(wrong.stderr.splitlines()) == 1
    assert wrong.stderr.startswith("unknown proxy 'dssa'; known: dsa, ")
