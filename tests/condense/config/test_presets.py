"""What the settings are where nobody says otherwise, and what they cannot be."""

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest

from condense import UserError, method_named
from condense.config.evaluation import Evaluation
from condense.config.kernel import KernelInducingPoints
from condense.config.methods import (
    Coreset,
    DistributionMatching,
    Forgetting,
    GradientMatching,
    ImprovedDistributionMatching,
)
from condense.config.network import Network
from condense.config.presets import PRESETS, preset
from condense.config.unrolled import DatasetDistillation, GenerativeTeaching, LabelDistillation
from condense.evaluation import Accuracy
from condense.runs.cache import cache_key
from condense.seeds import derive
from continual.settings import EEILConfig

PUBLISHED: dict[type, dict[str, Any]] = {
    Network: {
        **{"architecture": "convnet", "width": 128, "depth": None, "norm": "instance"},
        **{"activation": "relu", "pooling": "avg", "precision": "float32"},
    },
    GradientMatching: {
        **{"ipc": 10, "init": "real", "iterations": 1000, "lr_img": 0.1, "mom_img": 0.5},
        **{"lr_img_schedule": "constant", "lr_net": 0.01, "batch_train": 256},
        **{"batch_real": 256, "distance": "layerwise", "dsa_strategy": ()},
        **{"augment_real": "siamese", "augment_synthetic": "siamese"},
    },
    DistributionMatching: {
        **{"iterations": 20000, "lr_img": 1.0, "mom_img": 0.5, "batch_real": 256},
        **{"init": "real", "augment": "siamese"},
    },
    ImprovedDistributionMatching: {
        **{"iterations": 20000, "lr_img": 0.2, "mom_img": 0.5, "batch_real": 256},
        **{"init": "real", "augment": "siamese", "ce_weight": 0.5, "net_num": 100},
        **{"net_steps": 600, "lr_net": 0.01, "batch_train": 256},
    },
    KernelInducingPoints: {
        **{"iterations": 1000, "optimizer": "adam", "lr_img": 0.04, "batch_real": 500},
        **{"kernel_depth": 1, "w_std": 2**0.5, "b_std": 0.01, "reg": 1e-6, "learn_labels": False},
    },
    Forgetting: {
        "epochs": 200,
        "batch_size": 128,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
    },
    Coreset: {"steps": 5000},
    DatasetDistillation: {
        **{
            "init": "noise",
            "iterations": 23600,
            "lr_img": 0.01,
            "distill_epochs": 3,
            "distill_lr": 0.02,
        },
        **{"init_weights": "random", "networks": 4, "batch_real": 1024},
    },
    GenerativeTeaching: {
        **{"init": "noise", "iterations": 2000, "lr_img": 0.02, "distill_lr": 0.02},
        **{"batch_real": 128, "latent_size": 128},
    },
    LabelDistillation: {
        **{"iterations": 19600, "label_init": "uniform", "label_lr": 0.001, "batch_size": 50},
        **{"batch_real": 1024, "inner_lr": 0.01, "lr_net": 0.001, "patience": 50},
    },
    EEILConfig: {
        **{"epochs_first": 100, "epochs": 40, "lr": 0.1, "batch_size": 128, "momentum": 0.9},
        **{"weight_decay": 1e-4, "finetune_epochs": 30, "finetune_lr": 0.01, "temperature": 2.0},
        **{"noise": True, "noise_eta": 0.3, "noise_gamma": 0.55, "batch_size_mem": None},
    },
    Evaluation: {
        **{
            "num_eval": 20,
            "epoch_eval_train": None,
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 5e-4,
        },
        **{"batch_size": 256, "augment": "independent", "network": Network()},
    },
}


@pytest.mark.parametrize("kind", PUBLISHED, ids=lambda kind: kind.__name__)
def test_defaults_are_the_published_values(kind: type) -> None:
    made = kind()
    assert {name: getattr(made, name) for name in PUBLISHED[kind]} == PUBLISHED[kind]


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (GradientMatching, {"init": "foo"}, "unknown init 'foo'; known: "),
        (
            GradientMatching,
            {"lr_img_schedule": "cosin"},
            "unknown lr-img-schedule 'cosin'; known: cos",
        ),
        (GradientMatching, {"augment_real": 3}, "unknown augment-real '3'"),
        (GradientMatching, {"ipc": 2.5}, "ipc must be a whole number, not 2.5"),
        (GradientMatching, {"ipc": None}, "ipc must be a whole number, not None"),
        (GradientMatching, {"network": None}, "network must be a Network, not None"),
        (GradientMatching, {"augment_real": None}, "unknown augment-real 'None'"),
        (LabelDistillation, {"storage": "dct"}, "ld needs storage float32 and factor 1"),
        (GradientMatching, {"outer_loop": "2"}, "outer-loop must be a whole number, not '2'"),
        (GradientMatching, {"lr_img": "0.1"}, "lr-img must be a number, not '0.1'"),
        (GradientMatching, {"network": "lenet"}, "network must be a Network, not 'lenet'"),
        (DistributionMatching, {"augment": "independent"}, "unknown augment 'independent'"),
        (LabelDistillation, {"label_init": "foo"}, "unknown label-init 'foo'"),
        (DatasetDistillation, {"init_weights": "foo"}, "unknown init-weights 'foo'"),
        (Evaluation, {"augment": "foo"}, "unknown augment 'foo'"),
        (
            Coreset,
            {"storage": "pixels", "image_bytes": 5},
            "image-bytes needs storage dct, not pixels",
        ),
        (Network, {"norm": "bach"}, "unknown norm 'bach'; known: batch"),
    ],
)
def test_values_of_another_kind_are_one_line(kind: type, wrong: dict[str, Any], said: str) -> None:
    for make in (kind, partial(preset, kind, "cpu")):
        with pytest.raises(UserError) as caught:
            make(**wrong)
        assert str(caught.value).startswith(said)


def test_numbers_of_numpy_are_numbers() -> None:
    settings = GradientMatching(ipc=np.int64(3), lr_img=np.float32(0.5))
    assert settings.loops()[0] == 3
    assert derive(np.int64(3), "a") == derive(3, "a")
    key = cache_key("images", "dsa", method_named("dsa").preset("smoke"), np.int64(3))
    assert key == cache_key("images", "dsa", method_named("dsa").preset("smoke"), 3)


def test_epochs_replace_the_steps_of_the_preset() -> None:
    assert preset(Evaluation, "cpu").steps == 1000
    asked = preset(Evaluation, "cpu", epoch_eval_train=7)
    assert (asked.epoch_eval_train, asked.steps) == (7, None)
    with pytest.raises(UserError, match="either epoch-eval-train or steps, not both"):
        preset(Evaluation, "cpu", epoch_eval_train=7, steps=7)


def test_no_networks_are_no_figures() -> None:
    assert str(Accuracy(())) == "not tested"
    assert Evaluation(num_eval=0).num_eval == 0


def test_settings_derived_by_a_program_have_the_presets_of_their_base() -> None:
    @dataclass(frozen=True)
    class Own(GradientMatching):
        weight: float = 1.0

    for name in PRESETS:
        own, base = preset(Own, name, ipc=2), preset(GradientMatching, name, ipc=2)
        assert asdict(own) == {**asdict(base), "weight": 1.0}
