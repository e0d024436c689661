from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.storages._rdb.models import MAX_INDEXED_STRING_LENGTH

import nas.experiment
from condense import load
from nas import search
from nas.experiment import Experiment
from tests.helpers.tiny_space import SPACE


def test_search_and_retraining_have_settings_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(nas.experiment, "train_architecture", lambda *given: asked.append(given))
    made = search.defaults("smoke", "early-stopping")
    settings = replace(
        made,
        common=replace(made.common, seed=7),
        training=replace(made.training, test_images=30),
        retraining=replace(made.retraining, test_images=40),
    )
    experiment = Experiment(settings, load("digits"), SPACE, tmp_path)
    study: Any = SimpleNamespace(index=lambda trial: 1)
    trial: Any = None
    experiment.train(study, trial)
    experiment.retrain(0)
    assert [
        (index, proxy.draws, training, seed) for _, index, proxy, _, training, seed, _ in asked
    ] == [(1, "proxy", settings.training, 7), (0, "architecture", settings.retraining, 7)]


def test_the_name_of_a_study_fits_into_the_tables_of_optuna(tmp_path: Path) -> None:
    """Names of two files, of the images and of the proxy, have up to 511 characters."""
    settings, digits = search.defaults("smoke", "whole"), load("digits")
    names = [
        Experiment(settings, replace(digits, name=name), SPACE, tmp_path)._name()
        for name in ("d" * 493, "d" * 494)
    ]
    assert names[0].startswith("d" * 493 + "-whole-")
    assert "d…d" in names[1]
    assert [len(name) for name in names] == [MAX_INDEXED_STRING_LENGTH] * 2
