"""The engine's settings, named and documented once.

A default is the value of the published experiments. `PRESETS` says what the other presets change.
The command lines are generated from these classes, so nothing here imports torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from condense.errors import UserError, at_least, unknown

Side = Literal["none", "siamese", "independent"]
Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


@dataclass(frozen=True)
class Network:
    """A network; the last four keywords shape the ConvNet alone."""

    architecture: str = "convnet"
    """convnet, mlp, lenet, alexnet, vgg11 or resnet18."""
    width: int = 128
    """Filters in each block."""
    depth: int = 3
    """Blocks; each pooling halves the image."""
    activation: Literal["relu", "leakyrelu", "sigmoid"] = "relu"
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance"
    """Group normalisation has four groups."""
    pooling: Literal["avg", "max", "none"] = "avg"

    def __post_init__(self) -> None:
        at_least(1, self, "width", "depth")
        if self.norm == "group" and self.width % 4:
            raise UserError(f"group normalisation has four groups: width {self.width} is not 4 × n")

    def __str__(self) -> str:
        if self.architecture != "convnet":
            return self.architecture
        return f"d{self.depth}-w{self.width}-{self.activation}-{self.norm}-{self.pooling}"


@dataclass(frozen=True)
class MethodSettings:
    """What every method has."""

    ipc: int = 10
    """Images per class."""
    network: Network = field(default_factory=Network)
    """That gradients or features are taken of."""

    def __post_init__(self) -> None:
        at_least(1, self, "ipc")


@dataclass(frozen=True)
class GradientMatching(MethodSettings):
    """Gradient matching: DSA (Algorithm 1 of the paper), and DC, which is the same unaugmented."""

    outer: int = 1000
    """K: network initialisations that the images are matched on."""
    inner: int | None = None
    """T: steps of the inner loop. By default the paper's for this many images per class."""
    network_epochs: int | None = None
    """Epochs on the synthetic set between two steps (ς_θ). By default the paper's."""
    image_lr: float = 0.1
    image_schedule: Literal["constant", "cosine"] = "constant"
    """cosine: the images' rate falls to zero over the outer iterations along half a cosine, so that
    large steps can be taken early and the noise of small real batches is averaged out late."""
    image_momentum: float = 0.5
    network_lr: float = 0.01
    network_batch: int = 256
    """Synthetic images in a batch when the network in the loop is trained."""
    real_batch: int = 256
    """Real images per class in a step."""
    init: Literal["real", "herding", "noise"] = "real"
    """What the synthetic images start from."""
    herding_updates: int = 5000
    """Updates of the network in whose features herding chooses, where they start from that."""
    distance: Literal["layerwise", "cosine", "mse"] = "layerwise"
    """Between gradients: the paper's, per output node; one cosine over all; squared error."""
    strategy: tuple[Operation, ...] = ()
    """The operations of which one is drawn each time: color crop cutout flip scale rotate.
    By default all six; without flip where a mirrored image is another sign, as with digits."""
    augment_real: Side = "siamese"
    """How real images are augmented while matching."""
    augment_synthetic: Side = "siamese"
    """How synthetic images are augmented while matching; siamese: the draw of the real ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "outer", "inner", "network_batch", "real_batch", "herding_updates")
        at_least(0, self, "network_epochs")

    def loops(self) -> tuple[int, int]:
        """(T, ς_θ): as set, else the paper's for this many images per class.

        The paper gives them for 1, 10, 20, 30, 40 and 50 images per class. Between and beyond,
        T is the images per class (50 at most) and ς_θ is interpolated linearly.
        """
        inner, epochs = published_loops(self.ipc)
        return (
            inner if self.inner is None else self.inner,
            epochs if self.network_epochs is None else self.network_epochs,
        )


_PUBLISHED_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


def published_loops(ipc: int) -> tuple[int, int]:
    """(T, ς_θ) of the published experiments, interpolated where they are silent."""
    ipc = min(ipc, 50)
    if ipc in _PUBLISHED_LOOPS:
        return _PUBLISHED_LOOPS[ipc]
    below = max(known for known in _PUBLISHED_LOOPS if known < ipc)
    above = min(known for known in _PUBLISHED_LOOPS if known > ipc)
    low, high = _PUBLISHED_LOOPS[below][1], _PUBLISHED_LOOPS[above][1]
    return ipc, round(low + (high - low) * (ipc - below) / (above - below))


@dataclass(frozen=True)
class Coreset(MethodSettings):
    """Real images chosen from the training split."""

    updates: int = 5000
    """Updates of the network in whose features herding chooses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "updates")


@dataclass(frozen=True)
class Evaluation:
    """Fresh networks trained on a condensed set and tested on the real test split (§4.1)."""

    networks: int = 20
    """Freshly initialised networks; 0 tests nothing."""
    epochs: int | None = None
    """By default the paper's: 1000 with augmentation, 300 without."""
    lr: float = 0.01
    """Divided by ten half way."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    batch: int = 256
    strategy: tuple[Operation, ...] = ()
    """The operations drawn from; by default as for condensing."""
    augment: Side = "independent"
    """How the set is augmented while networks are trained on it; siamese: a draw for a batch."""
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        at_least(0, self, "networks")
        at_least(1, self, "epochs", "batch")


_CPU_NETWORK = Network(width=32)
_SMOKE_NETWORK = Network(width=8)

PRESETS: dict[str, dict[type, dict[str, Any]]] = {
    "paper": {},
    "cpu": {
        GradientMatching: {
            "outer": 20,
            "inner": 10,
            "network_epochs": 4,
            "network_lr": 0.2,
            "image_lr": 3.0,
            "image_schedule": "cosine",
            "real_batch": 64,
            "init": "herding",
            "herding_updates": 200,
            "network": _CPU_NETWORK,
        },
        Coreset: {"updates": 200, "network": _CPU_NETWORK},
        Evaluation: {"networks": 5, "epochs": 300, "network": _CPU_NETWORK},
    },
    "smoke": {
        GradientMatching: {
            "outer": 2,
            "inner": 2,
            "network_epochs": 1,
            "real_batch": 16,
            "network": _SMOKE_NETWORK,
        },
        Coreset: {"updates": 10, "network": _SMOKE_NETWORK},
        Evaluation: {"networks": 2, "epochs": 20, "network": _SMOKE_NETWORK},
    },
}

SettingsT = TypeVar("SettingsT")


def preset(settings: type[SettingsT], name: str, **changes: Any) -> SettingsT:
    """The settings that preset `name` stands for, with `changes` on top.

    Raises:
        UserError: for a preset or a setting that does not exist.
    """
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    fields = {item.name for item in dataclasses.fields(settings)}  # type: ignore[arg-type]
    for change in changes:
        if change not in fields:
            raise unknown("setting", change, fields)
    return settings(**{**PRESETS[name].get(settings, {}), **changes})


def preset_for(device: str, name: str = "auto") -> str:
    """The preset that `name` means on a kind of device: auto is cpu on a CPU, paper elsewhere."""
    if name != "auto":
        return name
    return "cpu" if device == "cpu" else "paper"
