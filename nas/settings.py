"""How architectures are trained on each kind of proxy, and what the presets change.

A default is the value of the published experiments (§4.6 of the paper). The command line is
generated from these classes, so nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from condense import METHODS, GradientMatching, UserError, at_least, at_most, command_line, unknown
from nas.paths import check_text, exists

MOST_WORKERS = 1024
MOST_MINUTES = 10**7
"""Nineteen years."""


@dataclass(frozen=True)
class Training:
    """How the networks of an architecture are trained and tested."""

    epochs: int = 300
    """Passes over the images."""
    updates: int | None = None
    """So many batches, in place of epochs."""
    images: int | None = None
    """Train on so many of the images, drawn at random; by default on all."""
    batch: int = 100
    lr: float = 0.01
    """Divided by ten half way."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    augment: bool = True
    """Augment while training."""
    networks: int = 1
    """Trained of each architecture, each from weights of its own; their accuracy is averaged."""
    test_images: int | None = None
    """Test on so many of the test images, the same for all; by default on all."""

    def __post_init__(self) -> None:
        at_least(1, self, "epochs", "updates", "images", "batch", "test_images")
        at_least(0, self, "networks", "lr", "momentum", "weight_decay")
        at_most(10**6, self, "lr", "weight_decay")
        at_most(1, self, "momentum")


PROXIES: dict[str, str] = {
    **{name: f"a few images of each class: {method.summary}" for name, method in METHODS.items()},
    "early-stopping": "all images, for as many updates as on a hundred",
    "whole": "all images, for long: the truth",
    "parameters": "no training: the larger network is thought to be the better",
}
"""What each is. Any other proxy is the path of a condensed set."""

PROXY_HELP = (
    f"{', '.join(METHODS)}: a few images per class. early-stopping: all images, briefly. "
    "whole: all images, for long; the truth. parameters: no training, rank by size. "
    "Or the path of a condensed set."
)

UNCONDENSED = ("early-stopping", "whole", "parameters")

_TRAINING: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {"early-stopping": {"updates": 300}, "whole": {"epochs": 100}},
    "cpu": {
        "a set": {"epochs": 150, "batch": 50, "test_images": 2000},
        "early-stopping": {"updates": 300, "batch": 50, "test_images": 2000},
        "whole": {"epochs": 1, "batch": 50, "test_images": 2000},
    },
    "smoke": {
        "a set": {"epochs": 2, "batch": 50, "test_images": 100},
        "early-stopping": {"updates": 4, "batch": 50, "test_images": 100},
        "whole": {"updates": 8, "batch": 50, "test_images": 100},
    },
}

_SEARCH: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {"sample": 36, "image_size": 16, "top_fraction": 0.3, "workers": 2},
    "smoke": {"sample": 6, "image_size": 16, "top_fraction": 0.5},
}


def training_preset(preset: str, proxy: str, **changes: Any) -> Training:
    """The training that preset `preset` stands for on this proxy, with `changes` on top.

    Raises:
        UserError: for a preset that does not exist.
    """
    if preset not in _TRAINING:
        raise unknown("preset", preset, _TRAINING)
    kind = proxy if proxy in ("early-stopping", "whole") else "a set"
    return Training(**{**_TRAINING[preset].get(kind, {}), **changes})


def search_preset(preset: str) -> dict[str, Any]:
    """What preset `preset` changes of the search itself."""
    return _SEARCH.get(preset, {})


def label(proxy: str) -> str:
    """A proxy as it is called in names and tables: that of a file by the file."""
    return Path(proxy).name


def check_proxy(proxy: str) -> None:
    """Check that there is such a proxy.

    Raises:
        UserError: it is neither the name of one nor a file.
    """
    path = Path(proxy)
    if proxy not in PROXIES and not exists(path) and path.suffix != ".safetensors":
        known = [*PROXIES, "the path of a condensed set"]
        raise unknown("proxy", proxy, known)


@dataclass(frozen=True)
class Search:
    """Rank architectures by training them on a proxy, and say how well the ranking holds."""

    dataset: str = "auto"
    """A known name (cifar10, mnist, …), or the path of an .npz or a folder. auto: cifar10 where it
    can be had, else mnist5k."""
    proxy: Annotated[str, tyro.conf.arg(help=PROXY_HELP)] = "dsa"
    space: str = "convnets"
    """convnets: the 720 of the paper. Or MODULE:NAME for one's own: a nas.Space, or an iterable of
    condense.Network."""
    sample: int | None = None
    """So many of the architectures, stratified; the same ones in every run. By default all."""
    truth: Path | None = None
    """A `whole` run, or its architectures.csv, to compare the ranking with."""
    image_size: int | None = None
    """Make larger images so small; by default they are left as they are."""
    top_fraction: float = 0.05
    """Of the architectures, the proxy's best, that the correlation is also given over."""
    budget_minutes: float | None = None
    """Begin no more training after so many minutes, and report on what there is."""
    prune: bool = False
    """Give up architectures early whose training curve is not among the better half of those
    before. With several workers it depends on their speed which those are."""
    workers: int = 1
    """Processes that train at once. With --resume it may be changed, as --budget-minutes may."""
    storage: str | None = None
    """A database URL for the study, which several machines may work on; by default it is a file
    in the run's folder. The folder keeps neither its password nor what follows a question mark:
    give it again with --resume."""
    training: Training = field(default_factory=Training)
    """On the proxy."""
    retraining: Training = field(default_factory=lambda: Training(epochs=100))
    """Of the proxy's pick on the whole set, where no truth has it; --retraining.networks 0 does
    without."""
    condensing: Any = field(default_factory=GradientMatching)
    """How the proxy set is made."""
    common: tyro.conf.OmitArgPrefixes[command_line.Common] = field(
        default_factory=command_line.Common
    )

    def __post_init__(self) -> None:
        for name in ("dataset", "proxy", "space", "truth", "storage"):
            check_text(name, getattr(self, name))
        check_proxy(self.proxy)
        if self.condensing is not None and self.proxy in METHODS:
            METHODS[self.proxy].check(self.condensing)
        at_least(1, self, "sample", "image_size", "workers")
        at_most(MOST_WORKERS, self, "workers")
        at_least(1, self.training, "networks")
        if self.training.images is not None and self.proxy not in UNCONDENSED:
            raise UserError("training.images is for proxies of real images: this one is a set")
        if not 0 < self.top_fraction <= 1:
            raise UserError("top-fraction must be above 0 and at most 1")
        if self.budget_minutes is not None and not self.budget_minutes > 0:
            raise UserError("budget-minutes must be above 0")
        at_most(MOST_MINUTES, self, "budget_minutes")
        if self.proxy == "whole" and self.truth is not None:
            raise UserError("a run on the whole set is its own truth: leave --truth out")
