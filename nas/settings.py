"""Settings of a search: the training on each kind of proxy, and the presets.

The defaults are the values of the published experiments (§4.6 of the paper). The command line is
generated from these classes, so this module must not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from condense import (
    METHODS,
    GradientMatching,
    UserError,
    at_least,
    at_most,
    check_values,
    unknown,
)
from condense.cli.common import Common
from condense.config.methods import SET_SUFFIXES
from condense.runs.io import check_text
from condense.runs.paths import exists
from condense.validation import check_fraction
from nas.summary import is_line

MOST_WORKERS = 1024
LONGEST_TIMEOUT = 10**9
"""Thirty years."""


@dataclass(frozen=True)
class Training:
    """How the networks of an architecture are trained and tested."""

    epochs: int = 300
    """Passes over the images."""
    steps: int | None = None
    """Number of training steps (batches); replaces epochs."""
    images: int | None = None
    """Number of training images, drawn at random; by default all."""
    batch_size: int = 100
    lr: float = 0.01
    """Learning rate; divided by 10 after half of the steps."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = True
    """Augment the training images."""
    networks: int = 1
    """Networks trained per architecture, each with its own initial weights; the score is their
    mean accuracy."""
    test_images: int | None = None
    """Number of test images, the same for all architectures; by default all."""

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "epochs", "steps", "images", "batch_size", "test_images")
        at_least(0, self, "networks", "lr", "momentum", "weight_decay")
        at_most(10**6, self, "lr", "weight_decay")
        at_most(1, self, "momentum")


PROXIES: dict[str, str] = {
    **{name: f"a few images of each class: {method.summary}" for name, method in METHODS.items()},
    "early-stopping": "all images, for as many steps as on a hundred images",
    "whole": "all images, trained for long: the ground truth",
    "parameters": "no training: architectures are ranked by their number of parameters",
}
"""A description of each proxy. Any other proxy is a condensed set: a file, or of the zoo."""

PROXY_HELP = (
    f"{', '.join(METHODS)}: a few images per class. early-stopping: all images, briefly. "
    "whole: all images, trained for long; the ground truth. parameters: no training, ranks by "
    "size. Or a condensed set: a .safetensors file, a name that `condense zoo` lists, or a .pt "
    "file of another repository. The settings below are those of the proxy that is given with "
    "--help."
)

CHANGING_NOTHING = ("workers", "timeout", "storage", "storage_timeout")
"""Settings that change no result."""
WITH_RESUME = (*CHANGING_NOTHING, "ground_truth")
"""Settings that may be changed with --resume: they change no trial."""

UNCONDENSED = ("early-stopping", "whole", "parameters")

_TRAINING: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"early-stopping": {"steps": 300}, "whole": {"epochs": 100}},
    "cpu": {
        "a set": {"steps": 300, "batch_size": 50, "test_images": 2000},
        "early-stopping": {"steps": 300, "batch_size": 50, "test_images": 2000},
        "whole": {"epochs": 1, "batch_size": 50, "test_images": 2000},
    },
    "smoke": {
        "a set": {"epochs": 2, "batch_size": 50, "test_images": 100},
        "early-stopping": {"steps": 4, "batch_size": 50, "test_images": 100},
        "whole": {"steps": 8, "batch_size": 50, "test_images": 100},
    },
}

_SEARCH: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {"n_trials": 36, "image_size": 16, "top_fraction": 0.3, "workers": 2},
    "smoke": {"n_trials": 6, "image_size": 16, "top_fraction": 0.5},
}


def training_preset(preset: str, proxy: str, **changes: Any) -> Training:
    """The training settings of preset `preset` for this proxy, overridden by `changes`.

    Raises:
        UserError: the preset does not exist.
    """
    if preset not in _TRAINING:
        raise unknown("preset", preset, _TRAINING)
    kind = proxy if proxy in ("early-stopping", "whole") else "a set"
    return Training(**{**_TRAINING[preset].get(kind, {}), **changes})


def search_preset(preset: str) -> dict[str, Any]:
    """The search settings that preset `preset` overrides."""
    return _SEARCH.get(preset, {})


def label(proxy: str) -> str:
    """The proxy's name in file names and tables; the file name if the proxy is a path."""
    return Path(proxy).name


def check_proxy(proxy: str) -> None:
    """Check that the proxy has a known name, or a path that is one of a set wherever it is resumed.

    Raises:
        UserError: it is neither a known name nor a set of the zoo, and has no suffix of a set.
    """
    path = Path(proxy)
    if proxy in PROXIES or path.suffix in SET_SUFFIXES:
        return
    from condense import zoo_names  # imports torch
    from condense.zoo import file_of

    if proxy in zoo_names():
        return
    if exists(path):
        ends = ", ".join(SET_SUFFIXES)
        raise UserError(
            f"{file_of(path)} does not end as the file of a condensed set ({ends}): rename it"
        )
    known = [*PROXIES, "the path of a condensed set", "a name that `condense zoo` lists"]
    raise unknown("proxy", proxy, known)


@dataclass(frozen=True)
class Search:
    """Rank architectures by training them on a proxy, and compare the ranking with a ground
    truth."""

    dataset: str = "auto"
    """A known name (cifar10, mnist, …), or the path of an .npz or a folder. auto: cifar10 if it is
    available, else mnist5k."""
    proxy: Annotated[str, tyro.conf.arg(help=PROXY_HELP)] = "dsa"
    space: str = "convnets"
    """convnets: the 720 ConvNets of the paper. Or MODULE:NAME or FILE.py:NAME for your own space: a
    nas.Space, or an iterable of condense.Network."""
    n_trials: int | None = None
    """Number of architectures, as a stratified sample that is the same in every run; by default
    all."""
    ground_truth: Path | None = None
    """A run with --proxy whole, or its architectures.csv, to compare the ranking with. If it was
    moved, give its new place with --resume."""
    image_size: int | None = None
    """Larger images get this side in pixels, in the way of --fit; by default images keep their
    size."""
    top_fraction: float = 0.05
    """Fraction of the architectures, best by the proxy, for the top correlation."""
    timeout: float | None = None
    """Start no more trials after this many seconds, and report the finished ones. The seconds of
    all sessions count: to continue such a search, give a larger one with --resume, or None."""
    prune: bool = False
    """Stop an architecture early if its training curve is not in the better half of the earlier
    ones. The result depends on the order: with several workers on their speed, and with --storage
    on kills, as a killed architecture waits for a minute."""
    workers: int = 1
    """Number of training processes, each on a GPU of its own if there are several. May be changed
    with --resume, like --timeout."""
    storage: str | None = None
    """Database URL of the study, which several machines may share; by default a file in the run
    folder. The password and everything after a question mark are not saved: give the URL again
    with --resume."""
    storage_timeout: float = 600.0
    """Seconds for which a worker keeps its result and tries again while the database cannot be
    reached."""
    training: Training = field(default_factory=Training)
    """Training on the proxy."""
    retraining: Training = field(default_factory=lambda: Training(epochs=100))
    """Training of the selected architecture on the whole set, if no ground truth includes it;
    --retraining.networks 0 skips it."""
    condensing: Any = field(default_factory=GradientMatching)
    """Settings of the condensation that makes the proxy set."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def __post_init__(self) -> None:
        check_values(self)
        for name in ("dataset", "proxy", "space", "ground_truth", "storage"):
            check_text(name, str(getattr(self, name)))
        check_proxy(self.proxy)
        for name in ("dataset", "proxy"):  # which are in the summary
            if not is_line(getattr(self, name)):
                raise UserError(f"--{name} has several lines: rename the file")
        if self.condensing is not None and self.proxy in METHODS:
            METHODS[self.proxy].check(self.condensing)
        at_least(1, self, "n_trials", "image_size", "workers")
        at_most(MOST_WORKERS, self, "workers")
        at_least(1, self.training, "networks")
        if self.training.images is not None and self.proxy not in UNCONDENSED:
            raise UserError(
                "training.images is for proxies of real images, not for a condensed set"
            )
        check_fraction("top-fraction", self.top_fraction)
        if self.timeout is not None and not self.timeout > 0:
            raise UserError("timeout must be above 0")
        at_least(0, self, "storage_timeout")
        at_most(LONGEST_TIMEOUT, self, "timeout", "storage_timeout")
        if self.proxy == "whole" and self.ground_truth is not None:
            raise UserError("a run on the whole set is its own ground truth: omit --ground-truth")
