"""Settings of the command and of EEIL, and the streams by name.

The defaults are the values of Castro et al. 2018; `_PRESETS` has the changes of the other presets.
The command line is generated from these classes, so this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import tyro

from condense import (
    METHODS,
    GradientMatching,
    Method,
    Network,
    UserError,
    at_least,
    check_values,
    unknown,
)
from condense.cli.common import Common
from condense.config.methods import ImprovedDistributionMatching
from condense.config.network import LEAST_DEPTH
from condense.methods.registry import AUTO, WHOLE
from condense.validation import LOWEST_TEMPERATURE


@dataclass(frozen=True)
class EEILConfig:
    """EEIL (Castro et al. 2018): the network and its training on each experience."""

    epochs_first: int = 100
    """Epochs on the first experience."""
    epochs: int = 40
    """Epochs on each later experience together with the memory (stage 1)."""
    steps_per_epoch: int | None = None
    """Maximum number of batches per epoch of stage 1; a shorter epoch uses a random part of the
    data."""
    lr: float = 0.1
    """Learning rate of stage 1; divided by 10 after each quarter of the epochs."""
    batch_size: int = 128
    batch_size_mem: int | None = None
    """Exemplars in each batch of stage 1. None: the memory and the new data are concatenated, as in
    EEIL. Default of continual.run: half of batch_size; None with a batch size of 1 and in the
    paper preset."""
    er_ace: bool = False
    """In stage 1 the cross-entropy of new samples is over the new classes only, that of exemplars
    over all classes (ER-ACE, Caccia et al. 2022); not where an experience has one new class. Only
    for --head class. Default of continual.run: True on split streams with that head, except in the
    paper preset and with one class per task."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    finetune_epochs: int = 30
    """Epochs of balanced fine-tuning on the memory only (stage 2); 0: no stage 2."""
    finetune_steps_per_epoch: int | None = None
    """Maximum number of batches per epoch of stage 2, as steps_per_epoch."""
    finetune_lr: float = 0.01
    """Learning rate of stage 2; divided by 10 after each third of the epochs."""
    temperature: float = 2.0
    """Temperature of the distillation: logits are divided by it."""
    noise: bool = True
    """Add Gaussian noise to the gradients."""
    noise_eta: float = 0.3
    """η: the noise on the batch-summed gradient has standard deviation η / (1 + epoch)^γ."""
    noise_gamma: float = 0.55
    """γ in the formula of noise_eta."""
    augment: bool = True
    """Augment each batch by one of color, crop and flip (flip only if it keeps the class). These
    operations of `condense` are the closest to EEIL's brightness, contrast, crop and mirror."""
    network: Network = field(default_factory=Network)

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "epochs_first", "epochs", "steps_per_epoch", "batch_size")
        at_least(1, self, "finetune_steps_per_epoch")
        at_least(0, self, "finetune_epochs", "lr", "finetune_lr", "momentum", "weight_decay")
        at_least(0, self, "noise_eta", "noise_gamma")
        at_least(1, self, "batch_size_mem")
        if self.batch_size_mem is not None and self.batch_size_mem >= self.batch_size:
            raise UserError(
                f"batch-size-mem must be below batch-size, which is {self.batch_size}, "
                f"not {self.batch_size_mem}"
            )
        at_least(LOWEST_TEMPERATURE, self, "temperature")


_PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "cpu": {
        "epochs_first": 10,
        "epochs": 10,
        "steps_per_epoch": 40,
        "finetune_epochs": 150,
        "finetune_steps_per_epoch": 3,
        "network": Network(width=32),
    },
    "smoke": {
        "epochs_first": 2,
        "epochs": 2,
        "steps_per_epoch": 5,
        "finetune_epochs": 2,
        "finetune_steps_per_epoch": 5,
        "network": Network(width=8),
    },
}


def eeil_preset(name: str, **changes: Any) -> EEILConfig:
    """The EEIL settings of preset `name`, with `changes` applied.

    Raises:
        UserError: if the preset does not exist.
    """
    if name not in _PRESETS:
        raise unknown("preset", name, _PRESETS)
    return EEILConfig(**{**_PRESETS[name], **changes})


Head = Literal["domain", "task", "class"]


Storage = Literal["pixels", "ycbcr420", "dct"]
"""How a memory stores images: a storage of `condense`, except float32."""


@dataclass(frozen=True)
class ReplayConfig:
    """How a memory is stored and replayed: settings of `ContinualConfig` and `EEILConfig`."""

    storage: Storage = "pixels"
    factor: int = 1
    store_logits: bool = False
    batch_size_mem: int | None = None
    er_ace: bool = False


EEIL_REPLAY = ReplayConfig()
"""As published, for every memory in the paper preset."""

BALANCED_REPLAY = ReplayConfig(storage="dct", batch_size_mem=64)
"""Best measured settings (docs/choices.md), for every memory in the other presets."""

SPLIT_REPLAY = ReplayConfig(storage="dct", batch_size_mem=64, er_ace=True)
"""The same for streams whose tasks are parts of one dataset."""

MEMORY_CHANGES: Mapping[type, Mapping[str, Any]] = {
    GradientMatching: {"iterations": 10},
    ImprovedDistributionMatching: {"net_num": 5, "net_steps": 200},
}
"""Changes of the cpu preset for a memory, by the settings' class. Gradient matching, but for the
storage pixels: hundreds of images initialised by herding gain little from more iterations
(docs/results.md). IDM: its networks are trained anew for each task; longer was not measured."""

TWO_CLASS_LRS: Mapping[str, Any] = {"lr_img": 0.2, "lr_net": 0.05}
"""Gradient matching of two classes, in the cpu preset. A network soon separates two classes. Their
gradients are then small. D depends on the direction only, so the steps of the images become large
and noisy; smaller learning rates prevent this."""

SMALL_IMAGE_LRS: Mapping[str, Any] = {"lr_img": 1.0}
"""Gradient matching of images with a factor above 1, in the cpu preset."""


def condensing_preset(
    memory: str,
    preset: str,
    factor: int = 1,
    classes: int | None = None,
    storage: Storage = "pixels",
) -> Any:
    """Settings of the condensation method of a memory in a preset.

    With storage pixels the method returns float32 images of the stored size. With a factor above 1,
    gradients are then matched in a ConvNet with one block less for each halving of the images, of
    the three that images up to 45 pixels have: give larger ones a depth. With all blocks, the last
    feature maps have too little spatial resolution, and the condensed images are worse exemplars
    (docs/choices.md). With another storage the method learns through it. The cpu preset has
    `MEMORY_CHANGES`.

    Args:
        memory: name of the method.
        preset: paper, cpu or smoke.
        factor: height and width of the images are divided by it.
        classes: that are condensed together, for `TWO_CLASS_LRS`; None: not known.
        storage: of the buffer.
    """
    method = memory_method(memory)
    changes = MEMORY_CHANGES.get(method.settings, {}) if preset == "cpu" else {}
    if storage != "pixels":
        return method.preset(preset, storage=storage, factor=factor, **changes)
    if method.settings is not GradientMatching:
        return method.preset(preset, storage="float32", **changes)
    lrs: dict[str, Any] = {}
    if preset == "cpu":
        lrs = {
            **(SMALL_IMAGE_LRS if factor > 1 else {}),
            **(TWO_CLASS_LRS if classes == 2 else {}),
        }
    settings = method.preset(preset, storage="float32", **lrs)
    if factor == 1:
        return settings
    depth = max(1, (settings.network.depth or LEAST_DEPTH) - (factor.bit_length() - 1))
    return replace(settings, network=replace(settings.network, depth=depth))


def memory_method(name: str) -> Method:
    """The method with this name.

    Raises:
        UserError: there is none, or its sets are not of the size of a memory.
    """
    if name == WHOLE:
        raise UserError("whole keeps all training images, a memory some: choose another --memory")
    if name == AUTO:
        raise UserError("auto chooses the method of a set, not of a memory: choose a --memory")
    if name not in METHODS:
        raise unknown("memory", name, METHODS)
    return METHODS[name]


def check_condensing(settings: Any, storage: Storage, factor: int) -> Any:
    """The settings of a condensation method, after a check that they suit a replay memory.

    Args:
        settings: of the method, or None.
        storage: of the memory.
        factor: of the memory.

    Raises:
        UserError: they store images in another way.
    """
    own = ("float32", 1, "hard") if storage == "pixels" else (storage, factor, "hard")
    if settings and (settings.storage, settings.factor, settings.labels) != own:
        raise UserError(
            "a replay memory stores images by its own storage, factor and store-logits: with "
            f"storage {storage} the storage, factor and labels of the condensation method must be "
            f"{own[0]}, {own[1]} and {own[2]}"
        )
    return settings


Logger = Literal["tensorboard", "csv", "text"]


@dataclass(frozen=True)
class TaskSpec:
    """One task of a stream: a dataset, or some classes of a dataset."""

    dataset: str
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class StreamSpec:
    """A sequence of tasks, all resized to one image shape."""

    tasks: tuple[TaskSpec, ...]
    size: int = 32
    """Height and width."""
    channels: int = 3
    head: Head = "domain"
    """Default head."""
    replay: ReplayConfig = BALANCED_REPLAY
    """Default replay settings, except in the paper preset."""
    each: int | None = None
    """Classes of a task, where all tasks are parts of datasets with the same number."""


def _whole(*names: str) -> StreamSpec:
    return StreamSpec(tuple(TaskSpec(name) for name in names))


def _split(name: str, size: int, channels: int, classes: int = 10, each: int = 2) -> StreamSpec:
    """Tasks of `each` classes in label order; images keep their original shape."""
    firsts = range(0, classes, each)
    parts = tuple(TaskSpec(name, tuple(range(first, first + each))) for first in firsts)
    return StreamSpec(parts, size, channels, "class", SPLIT_REPLAY, each)


REAL = "svhn-mnist-usps"
EMBEDDED = "synthdigits-mnist5k-digits"
STREAMS: dict[str, StreamSpec] = {
    REAL: _whole("svhn", "mnist", "usps"),
    EMBEDDED: _whole("synthdigits", "mnist5k", "digits"),
    "split-fashionmnist": _split("fashionmnist", 28, 1),
    "split-cifar10": _split("cifar10", 32, 3),
    "split-cifar100": _split("cifar100", 32, 3, classes=100, each=10),
}
"""The streams by name."""


SELECTION_METHODS = ("herding", "random")
"""Memories of selected images; herding uses the features of the network that is trained. Any other
memory is a method of `condense`."""

MEMORY_HELP = (
    f"How exemplars are condensed or selected: {', '.join(METHODS)}; "
    "`python -m condense methods` describes them. The settings below are those of the memory that "
    "is given with --help."
)


STORAGE_HELP = (
    "How exemplars are stored, as in `python -m condense run`: pixels, ycbcr420, or dct, which "
    "keeps the most images in the bytes of images-per-class whole ones. Default: dct; pixels with "
    "a factor, in the paper preset, and for dd, gtn and ld."
)


@dataclass(frozen=True)
class ContinualConfig:
    """Train EEIL with a replay memory on a stream of tasks; report accuracy and forgetting."""

    stream: str = "auto"
    """svhn-mnist-usps, synthdigits-mnist5k-digits: one dataset per task. split-fashionmnist,
    split-cifar10: two classes of one dataset per task. split-cifar100: ten. Your own:
    a.npz,b_folder: one data set per task; own.npz:classes=2: two classes per task. auto:
    svhn-mnist-usps if its images are available, else synthdigits-mnist5k-digits."""
    memory: Annotated[str, tyro.conf.arg(help=MEMORY_HELP)] = "dsa"
    head: Literal["auto", Head] = "auto"
    """domain: all tasks share one head, without task labels. task: one head per task, with task
    labels. class: each task has new classes, without task labels. auto: class on split streams,
    domain on the others."""
    distill: bool = True
    """Distil the old heads from a frozen copy of the network (EEIL's cross-distilled loss)."""
    images_per_class: int = 10
    """Each class of each task has the bytes of so many whole images; other storages than pixels
    keep more exemplars in them."""
    memory_size: int | None = None
    """The bytes of all exemplars, in whole images; replaces images_per_class."""
    storage: Annotated[Storage, tyro.conf.arg(help=STORAGE_HELP)] = "pixels"
    factor: int = 1
    """Store factor² images of height/factor × width/factor in the space of one image (IDC, Kim et
    al. 2022). Not with storage dct."""
    store_logits: bool = False
    """Store the logits of each exemplar (two bytes per class, which the size does not count) and
    distil from them at replay (DER, Buzzega et al. 2020). With memory ld, whose exemplars have
    learnt labels, these are stored in any case and the logits are not."""
    seeds: int = 1
    """Number of runs, with seeds from --seed on; results are averaged."""
    logger: tuple[Logger, ...] = ()
    """Loggers of Avalanche: accuracy and loss of every epoch and test, in the run folder.
    --tensorboard is one of them too."""
    eeil: tyro.conf.OmitArgPrefixes[EEILConfig] = field(default_factory=EEILConfig)
    condensing: Any = field(default_factory=GradientMatching)
    """Settings of the condensation method. Its ipc, storage, factor and labels follow from the
    memory: give --images-per-class, --storage and --factor instead."""
    common: tyro.conf.OmitArgPrefixes[Common] = field(default_factory=Common)

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "images_per_class", "memory_size", "factor", "seeds")
        if self.eeil.er_ace and self.head not in ("auto", "class"):
            raise UserError(f"--er-ace is only for --head class, not for --head {self.head}")
        if self.condensing is None:
            return
        memory_method(self.memory).check(self.condensing)
        if self.condensing.ipc != type(self.condensing)().ipc:
            raise UserError("give the memory's size by --images-per-class, not --condensing.ipc")
        check_condensing(self.condensing, self.storage, self.factor)

    @property
    def loggers(self) -> set[Logger]:
        """The loggers, with that of --tensorboard."""
        also: set[Logger] = {"tensorboard"} if self.common.tensorboard else set()
        return {*self.logger, *also}

    def on(self, stream: StreamSpec) -> ContinualConfig:
        """The same settings, with head `auto` replaced by the default head of this stream.

        Raises:
            UserError: they are not for that head.
        """
        return replace(self, head=stream.head) if self.head == "auto" else self
