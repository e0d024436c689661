"""Settings of the methods.

Defaults are the values of the published experiments; the other presets are in
`condense/config/presets.py`. The command lines are generated from these classes, so this module
does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from condense.config.network import Network
from condense.errors import UserError, unknown
from condense.validation import LOWEST_TEMPERATURE, at_least, at_most, check_values

Augment = Literal["none", "siamese", "independent"]
LARGEST_FACTOR = 16
"""Maximum factor of the storage; a decoded file is at most its square times larger."""
Storage = Literal["float32", "pixels", "ycbcr420", "dct"]
INITS = ("real", "herding", "noise")
SET_SUFFIXES = (".safetensors", ".pt", ".pth")
Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]


@dataclass(frozen=True)
class MethodSettings:
    """Settings of every method."""

    ipc: int = 10
    """Images per class. With another storage than float32: the bytes of so many whole images, 8
    bits per number, for images and soft labels together."""
    network: Network = field(default_factory=Network)
    """Network whose gradients, features or forgetting events are used."""
    storage: Storage = "float32"
    """How images are stored. float32: as published, not rounded. pixels: 8 bits per number.
    ycbcr420: 8 bits per number, colour at half the resolution of brightness, as in JPEG. dct:
    coefficients of a cosine transform with a few bits each, as in JPEG."""
    factor: int = 1
    """Divides the height and width of stored images, which are enlarged bilinearly for training
    (IDC, Kim et al. 2022); factor² as many images are stored, with float32 enlarged ones."""
    image_bytes: int | None = None
    """Bytes of a stored image with --storage dct. None: as few as lose a tenth of the variance of
    the training images."""
    short_classes: Literal["refuse", "keep"] = "refuse"
    """Classes with fewer training images than --ipc. refuse: an error. keep: they keep their real
    images, and the others are condensed without them."""
    labels: Literal["hard", "soft"] = "hard"
    """soft: the probabilities of a teacher, a network of the architecture that the method uses,
    trained on the whole training split; stored with 8 bits per class."""
    temperature: float = 2.0
    """Logits of the teacher are divided by it before the softmax (Hinton et al. 2015)."""
    teacher_steps: int = 2000
    """Training steps of the teacher, with 128 images each."""

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "ipc", "factor", "image_bytes", "teacher_steps")
        at_most(LARGEST_FACTOR, self, "factor")
        if self.storage == "dct" and self.factor > 1:
            raise UserError("factor must be 1 with storage dct: omit it, or set storage pixels")
        if self.storage != "dct" and self.image_bytes is not None:
            raise UserError(f"image-bytes needs storage dct, not {self.storage}")
        if self.short_classes == "keep" and self.labels == "soft":
            raise UserError("short-classes keep needs labels hard: soft ones need equal classes")
        at_least(LOWEST_TEMPERATURE, self, "temperature")

    @property
    def lossless(self) -> bool:
        """Whether images are stored as they are."""
        return self.storage == "float32" and self.factor == 1

    @property
    def reads_files(self) -> bool:
        """Whether the result depends on a file that the settings name."""
        return False

    @property
    def learns_labels(self) -> bool:
        """Whether the labels are learnt probabilities."""
        return False


@dataclass(frozen=True)
class LearnedImages(MethodSettings):
    """Settings of every method that learns images."""

    init: str = "real"
    """Initial synthetic images: real (random ones), herding, noise, or the path of a condensed set
    (.safetensors, or .pt of another repository), whose images are repeated if more are needed."""
    herding_steps: int = 5000
    """Training steps of the network whose features herding uses, with --init herding."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "herding_steps")
        if self.reads_files and Path(str(self.init)).suffix not in SET_SUFFIXES:
            known = [*INITS, "the path of a set (condense zoo NAME copies one)"]
            raise unknown("init", str(self.init), known)
        if self.reads_files and not str(self.init).startswith("~"):
            # So that a run can be resumed in another folder.
            object.__setattr__(self, "init", str(Path(self.init).absolute()))

    @property
    def reads_files(self) -> bool:
        """Whether the images start from a file."""
        return self.init not in INITS


@dataclass(frozen=True)
class OptimisedImages(LearnedImages):
    """Settings of the methods that take steps of the images, each with a batch of real ones."""

    iterations: int = 1000
    """Number of network initialisations."""
    optimizer: Literal["sgd", "adam"] = "sgd"
    """Of the images. sgd: with momentum, as published."""
    lr_img: float = 0.1
    lr_img_schedule: Literal["constant", "cosine"] = "constant"
    """cosine: the learning rate of the images falls to zero over the iterations along half a
    cosine: large steps early, and averaging of the noise of small real batches late."""
    mom_img: float = 0.5
    batch_real: int = 256
    """Real images per class in a step."""
    batch_syn: int | None = None
    """Synthetic images per class in a step of the images, sampled; None: all, as published."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "batch_real", "batch_syn")
        at_least(0, self, "lr_img", "mom_img")


@dataclass(frozen=True)
class MatchedImages(OptimisedImages):
    """Settings of the methods that optimise images to match real ones under augmentation."""

    dsa_strategy: tuple[Operation, ...] = ()
    """Operations, one of which is sampled each time: color crop cutout flip scale rotate.
    Default: all six, without flip if a mirrored image has another meaning, as for digits."""


@dataclass(frozen=True)
class GradientMatching(MatchedImages):
    """Gradient matching: DSA (Algorithm 1 of the paper), and DC, which has no augmentation."""

    iterations: int = 1000
    """K: number of network initialisations."""
    outer_loop: int | None = None
    """T: steps of the images per initialisation. None: the paper's value for this --ipc."""
    inner_loop: int | None = None
    """ς_θ: epochs of the network on the synthetic set between two steps. None: as in the paper."""
    lr_net: float = 0.01
    batch_train: int = 256
    """Synthetic images per batch when the network in the loop is trained."""
    distance: Literal["layerwise", "cosine", "mse"] = "layerwise"
    """Distance between gradients. layerwise: as in the paper, per output node, without biases.
    cosine: one cosine over all parameters. mse: squared error over all parameters."""
    cuda_graphs: bool = False
    """On a GPU, record the kernel launches of a training step once and replay them (CUDA graphs):
    same results, fewer launches; not under torchrun. Off by default because the speed was not
    measured."""
    augment_real: Augment = "siamese"
    """Augmentation of the real images in matching."""
    augment_synthetic: Augment = "siamese"
    """Augmentation of the synthetic images in matching; siamese: same parameters as the real."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "outer_loop", "batch_train")
        at_least(0, self, "inner_loop", "lr_net")

    def loops(self) -> tuple[int, int]:
        """(T, ς_θ): the settings, or the paper's values for this number of images per class.

        The authors' code has values for 1, 10, 20, 30, 40 and 50 images per class (the paper for
        1, 10 and 50). For other numbers,
        T is the number of images per class (at most 50) and ς_θ is interpolated linearly.
        """
        outer_loop, inner_loop = published_loops(self.ipc)
        return (
            outer_loop if self.outer_loop is None else self.outer_loop,
            inner_loop if self.inner_loop is None else self.inner_loop,
        )


_PUBLISHED_LOOPS = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}


def published_loops(ipc: int) -> tuple[int, int]:
    """(T, ς_θ) of the published experiments, interpolated between them."""
    ipc = min(ipc, 50)
    if ipc in _PUBLISHED_LOOPS:
        return _PUBLISHED_LOOPS[ipc]
    below = max(known for known in _PUBLISHED_LOOPS if known < ipc)
    above = min(known for known in _PUBLISHED_LOOPS if known > ipc)
    low, high = _PUBLISHED_LOOPS[below][1], _PUBLISHED_LOOPS[above][1]
    return ipc, round(low + (high - low) * (ipc - below) / (above - below))


@dataclass(frozen=True)
class DistributionMatching(MatchedImages):
    """Distribution matching (DM): mean embeddings in random networks.

    All values are the defaults of the authors' code (VICO-UoE/DatasetCondensation, `main_DM.py`).
    As there, batch norm uses the statistics of all real images of a step, and separately those of
    all synthetic images.
    """

    iterations: int = 20000
    """Number of random networks; one step of the images per network."""
    lr_img: float = 1.0
    """Value of the authors for up to 50 images per class; from 100 on they use 10 on CIFAR-10."""
    augment: Literal["none", "siamese"] = "siamese"
    """siamese: the same parameters for the real and the synthetic images of a class."""


@dataclass(frozen=True)
class ImprovedDistributionMatching(DistributionMatching):
    """Improved distribution matching (IDM): DM in trained networks, with a cross-entropy.

    The values are those of the authors' code (uitrbn/IDM, `command.txt`) for CIFAR-10 with 10
    images per class, but for `ce_weight`. The authors store images with `--factor 2`, and train
    their networks while the images are learnt, without augmentation. Here a network is trained when
    it is first drawn, with augmentation unless `augment` is none, and is used at several ages from
    then on.
    """

    iterations: int = 20000
    """Steps of the images, each in one of the networks."""
    lr_img: float = 0.2
    """Value of the authors for all their data sets."""
    ce_weight: float = 0.5
    """λ: weight of the cross-entropy of the synthetic images, in the loss of a class. The authors
    multiply their 0.5 by the training accuracy of the network in per cent; such a large weight was
    worse here."""
    net_num: int = 100
    """Networks that are trained on real images; each iteration uses one of them, at some age."""
    net_steps: int = 600
    """Training steps of each network: its greatest age."""
    lr_net: float = 0.01
    batch_train: int = 256
    """Real images per batch when a network is trained."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "net_num", "net_steps", "batch_train")
        at_least(0, self, "ce_weight", "lr_net")


@dataclass(frozen=True)
class Forgetting(MethodSettings):
    """The real images with the most forgetting events during training.

    The values are those of the authors' code (mtoneva/example_forgetting, `run_cifar.py`). The
    authors train a ResNet-18 with random crops and flips, and add the counts of five runs; here
    the configured network is trained once, without augmentation. For MNIST they use batch size 64,
    a constant learning rate of 0.01, momentum 0.5 and no weight decay.
    """

    epochs: int = 200
    """Epochs on the training split; an image can be forgotten at most once in two epochs."""
    batch_size: int = 128
    lr: float = 0.1
    """Learning rate; divided by five after 30, 60 and 80 % of the epochs."""
    momentum: float = 0.9
    """Nesterov momentum."""
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "epochs", "batch_size")
        at_least(0, self, "lr", "momentum", "weight_decay")


@dataclass(frozen=True)
class Coreset(MethodSettings):
    """Real images selected from the training split."""

    steps: int = 5000
    """Training steps of the network whose features herding uses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "steps")
