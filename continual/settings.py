"""The command's and the learner's settings, and the streams by name.

A default is the value of Castro et al. 2018; `PRESETS` says what the other presets change. The
command line is generated from these classes, so nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import tyro

from condense import (
    METHODS,
    GradientMatching,
    Network,
    UserError,
    at_least,
    check_values,
    command_line,
    method_named,
    unknown,
)


@dataclass(frozen=True)
class Learner:
    """EEIL (Castro et al. 2018): the network and how it is trained on each experience."""

    epochs_first: int = 100
    """Epochs on the first experience."""
    epochs: int = 40
    """Epochs on each later experience and the memory (stage 1)."""
    updates_per_epoch: int | None = None
    """At most so many batches an epoch, which then visits a random part of the data."""
    lr: float = 0.1
    """Of stage 1; divided by ten at each quarter of the epochs."""
    batch: int = 128
    memory_share: float | None = None
    """This part of each batch of stage 1 is from the memory. None: the memory and the new data are
    simply put together, as EEIL does. By default half with condensed memories, None with chosen
    ones and in the paper preset."""
    asymmetric: bool = False
    """In stage 1 new samples compete with the new classes alone, remembered ones with all
    (asymmetric cross-entropy, Caccia et al. 2022): else whatever tells real images from remembered
    ones tells new classes from old. Only --head class grows so; by default with condensed memories
    on split streams, but not in the paper preset."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    finetune_epochs: int = 30
    """Epochs of balanced fine-tuning on the memory alone (stage 2); 0 does without."""
    finetune_lr: float = 0.01
    """Of stage 2; divided by ten at each third of the epochs."""
    temperature: float = 2.0
    """That old heads' outputs are softened by for distillation."""
    noise: bool = True
    """Add normal noise to gradients."""
    noise_eta: float = 0.3
    """η: the noise on the batch-summed gradient has standard deviation η / (1 + epoch)^γ."""
    noise_gamma: float = 0.55
    """γ of the same."""
    augment: bool = True
    """Augment by one of color, crop and, where a mirrored image still shows its class, flip: the
    operations of `condense` that come nearest to EEIL's brightness, contrast, crop and mirror."""
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "epochs_first", "epochs", "updates_per_epoch", "batch")
        at_least(0, self, "finetune_epochs", "lr", "finetune_lr", "momentum", "weight_decay")
        at_least(0, self, "memory_share", "noise_eta", "noise_gamma")
        if self.remembered is not None and not 1 <= self.remembered < self.batch:
            raise UserError(
                f"of a batch of {self.batch}, memory share {self.memory_share} gives "
                f"{self.remembered} to the memory: it and the new data need at least one each"
            )
        at_least(0, self, "temperature")
        if not self.temperature > 0:
            raise UserError(f"temperature must be above 0, not {self.temperature}")

    @property
    def remembered(self) -> int | None:
        """Images of each batch of stage 1 that are from the memory; None: as it comes."""
        return None if self.memory_share is None else round(self.memory_share * self.batch)


_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {
        "epochs_first": 10,
        "epochs": 10,
        "updates_per_epoch": 40,
        "finetune_epochs": 150,
        "network": Network(width=32),
    },
    "smoke": {
        "epochs_first": 2,
        "epochs": 2,
        "updates_per_epoch": 5,
        "finetune_epochs": 2,
        "network": Network(width=8),
    },
}


def learner_preset(name: str, **changes: Any) -> Learner:
    """The learner that preset `name` stands for, with `changes` on top.

    Raises:
        UserError: for a preset that does not exist.
    """
    if name not in _PRESETS:
        raise unknown("preset", name, _PRESETS)
    return Learner(**{**_PRESETS[name], **changes})


Head = Literal["domain", "task", "class"]


@dataclass(frozen=True)
class Rehearsal:
    """How a memory is kept and rehearsed: settings of `Continual` and its learner."""

    formation: int = 1
    answers: bool = False
    memory_share: float | None = None
    asymmetric: bool = False


PLAIN = Rehearsal()
"""As EEIL has it: chosen memories, and all in the paper preset."""

REHEARSED = Rehearsal(formation=2, answers=True, memory_share=0.5)
"""What was found to help (benchmarks/README.md): condensed memories in the other presets."""

SPLIT = Rehearsal(memory_share=0.5, asymmetric=True)
"""What was found to help where classes come two by two."""

GENTLE: Mapping[str, Any] = {"image_lr": 0.2, "network_lr": 0.05}
"""Gradient matching of two classes, at the cpu preset. A network soon tells them apart; then their
gradients are small, and since D looks at their direction alone, the steps of the images are the
larger, and noise."""

SMALLER: Mapping[str, Any] = {"image_lr": 1.0}
"""Gradient matching of a formation's images, at the cpu preset."""


def condensing_preset(
    memory: str, preset: str, formation: int = 1, matching: Mapping[str, Any] | None = None
) -> Any:
    """How the images of a memory are condensed: the method's settings at a preset.

    Gradients of a formation's smaller images are matched in a ConvNet of one block less for each
    time that they are halved: else less and less is left of where anything is, and what is
    condensed so reminds of less (benchmarks/README.md).

    Args:
        memory: the method.
        preset: paper, cpu or smoke.
        formation: how many times smaller the images are on a side.
        matching: what is changed of gradient matching at the cpu preset.
    """
    method = method_named(memory)
    if method.settings is not GradientMatching:
        return method.preset(preset)
    changes: dict[str, Any] = {}
    if preset == "cpu":
        changes = {**(SMALLER if formation > 1 else {}), **(matching or {})}
    settings = method.preset(preset, **changes)
    depth = max(1, settings.network.depth - (formation.bit_length() - 1))
    return replace(settings, network=replace(settings.network, depth=depth))


@dataclass(frozen=True)
class Part:
    """One task of a stream: a data set, or some classes of one."""

    dataset: str
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Stream:
    """Tasks that are learnt one after the other, brought to one image shape."""

    parts: tuple[Part, ...]
    size: int = 32
    """Height and width."""
    channels: int = 3
    head: Head = "domain"
    """What its learners have unless they ask for another."""
    rehearsal: Rehearsal = REHEARSED
    """Of condensed memories, unless they ask for another."""
    matching: Mapping[str, Any] = field(default_factory=dict)
    """What it changes of gradient matching at the cpu preset."""


def _whole(*names: str) -> Stream:
    return Stream(tuple(Part(name) for name in names))


def _split(name: str, size: int, channels: int) -> Stream:
    """Ten classes in five tasks of two, in the order of their labels, as they are in the set."""
    parts = tuple(Part(name, (label, label + 1)) for label in range(0, 10, 2))
    return Stream(parts, size, channels, "class", SPLIT, GENTLE)


REAL = "svhn-mnist-usps"
EMBEDDED = "synthdigits-mnist5k-digits"
STREAMS: dict[str, Stream] = {
    REAL: _whole("svhn", "mnist", "usps"),
    EMBEDDED: _whole("synthdigits", "mnist5k", "digits"),
    "split-fashionmnist": _split("fashionmnist", 28, 1),
    "split-cifar10": _split("cifar10", 32, 3),
}


LEARNERS_OWN = ("herding", "random")
"""Memories that are chosen without condensing, herding in the learner's own features; any other is
a method of `condense`."""

MEMORY_HELP = (
    f"How the images to remember are made or chosen: {', '.join(METHODS)}; "
    "`python -m condense methods` says what each is."
)


@dataclass(frozen=True)
class Continual:
    """Learn a stream of tasks by EEIL with a rehearsal memory, and report what is forgotten."""

    stream: str = "auto"
    """svhn-mnist-usps or synthdigits-mnist5k-digits: a data set for each task.
    split-fashionmnist or split-cifar10: two classes of one for each. auto: the first where its
    images can be had, else the second."""
    memory: Annotated[str, tyro.conf.arg(help=MEMORY_HELP)] = "dsa"
    head: Literal["auto", Head] = "auto"
    """domain: the tasks share one head, and nobody says which task an image is from. task: a head
    for each, and the task is told. class: each task brings new classes. auto: class on split
    streams, domain on the others."""
    distill: bool = True
    """Distil old heads from the network as it was (EEIL's cross-distilled loss)."""
    images_per_class: int = 10
    """Remembered images of each class of each task."""
    memory_size: int | None = None
    """Remembered images in all, in place of so many for each class."""
    formation: int = 1
    """Remember the square of it in smaller images in the place of each, so many times smaller on a
    side (multi-formation, Kim et al. 2022). By default 2 for condensed memories, 1 for chosen ones,
    on split streams and in the paper preset."""
    answers: bool = False
    """Remember with each image what the learner said of it, two bytes for each class, and have it
    say so again (dark experience replay, Buzzega et al. 2020). By default so for condensed
    memories, but not on split streams, nor in the paper preset."""
    seeds: int = 1
    """Repeat with so many seeds, from --seed on, and average."""
    learner: tyro.conf.OmitArgPrefixes[Learner] = field(default_factory=Learner)
    condensing: Any = field(default_factory=GradientMatching)
    """How the memory is condensed."""
    common: tyro.conf.OmitArgPrefixes[command_line.Common] = field(
        default_factory=command_line.Common
    )

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "images_per_class", "memory_size", "formation", "seeds")
        if self.condensing is None:
            return
        method_named(self.memory).check(self.condensing)
        if self.condensing.ipc != type(self.condensing)().ipc:
            raise UserError("give the memory's size by --images-per-class, not --condensing.ipc")

    def on(self, stream: Stream) -> Continual:
        """The same settings with the head that `auto` stands for on this stream."""
        return replace(self, head=stream.head) if self.head == "auto" else self
