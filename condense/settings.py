"""The engine's settings, named and documented once.

A default is the value of the published experiments; `condense/presets.py` says what the other
presets change. The command lines are generated from these classes, so nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from condense.errors import UserError, at_least, at_most, check_values

Side = Literal["none", "siamese", "independent"]
Operation = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]

WIDEST, DEEPEST = 65536, 64
"""Filters and blocks of a network, at most: how large it may be in all, memory says."""


@dataclass(frozen=True)
class Network:
    """A network; all but architecture, norm and precision shape the ConvNet alone."""

    architecture: str = "convnet"
    """convnet, mlp, lenet, alexnet, vgg11 or resnet18."""
    width: int = 128
    """Filters in each block."""
    depth: int = 3
    """Blocks; each pooling halves the image."""
    activation: Literal["relu", "leakyrelu", "sigmoid"] = "relu"
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance"
    """Group normalisation has four groups; layer normalisation scales and shifts each element."""
    pooling: Literal["avg", "max", "none"] = "avg"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of convolutions and products. bfloat16 is approximate, and quicker where the processor has
    instructions for it; weights, gradients and distances are float32 all the same."""

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "width", "depth")
        at_most(WIDEST, self, "width")
        at_most(DEEPEST, self, "depth")
        if self.norm == "group" and self.width % 4:
            raise UserError(f"group normalisation has four groups: width {self.width} is not 4 × n")

    def __str__(self) -> str:
        convnet = f"d{self.depth}-w{self.width}-{self.activation}-{self.norm}-{self.pooling}"
        name = convnet if self.architecture == "convnet" else self.architecture
        return name if self.precision == "float32" else f"{name}-{self.precision}"


@dataclass(frozen=True)
class MethodSettings:
    """What every method has."""

    ipc: int = 10
    """Images per class."""
    network: Network = field(default_factory=Network)
    """That looks at the images: its gradients are taken, or its features, or what it forgets."""

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "ipc")


@dataclass(frozen=True)
class LearnedImages(MethodSettings):
    """What every method has that learns images."""

    init: Literal["real", "herding", "noise"] = "real"
    """What the synthetic images start from."""
    herding_updates: int = 5000
    """Updates of the network in whose features herding chooses, where they start from that."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "herding_updates")


@dataclass(frozen=True)
class GradientMatching(LearnedImages):
    """Gradient matching: DSA (Algorithm 1 of the paper), and DC, which is the same unaugmented."""

    outer: int = 1000
    """K: network initialisations that the images are matched on."""
    inner: int | None = None
    """T: steps of the inner loop. None: the paper's for this many images per class."""
    network_epochs: int | None = None
    """Epochs on the synthetic set between two steps (ς_θ). None: the paper's."""
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
    distance: Literal["layerwise", "cosine", "mse"] = "layerwise"
    """Between gradients: the paper's, per output node and without biases; one cosine over all
    parameters; squared error of all."""
    strategy: tuple[Operation, ...] = ()
    """The operations of which one is drawn each time: color crop cutout flip scale rotate.
    By default all six; without flip where a mirrored image is another sign, as with digits."""
    capture: bool = False
    """On a GPU record the launches of a training step once and replay them (CUDA graphs): the same
    numbers in fewer launches. Off until somebody has measured it."""
    augment_real: Side = "siamese"
    """How real images are augmented while matching."""
    augment_synthetic: Side = "siamese"
    """How synthetic images are augmented while matching; siamese: the draw of the real ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "outer", "inner", "network_batch", "real_batch")
        at_least(0, self, "network_epochs", "image_lr", "image_momentum", "network_lr")

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
class DistributionMatching(LearnedImages):
    """Distribution matching (DM): mean embeddings in random networks.

    All values are the defaults of the authors' code (VICO-UoE/DatasetCondensation, `main_DM.py`).
    As there, batch norm takes statistics of all real images of a step, and of all synthetic ones.
    """

    iterations: int = 20000
    """Random networks that the images are matched on, one step of the images on each."""
    image_lr: float = 1.0
    """The authors' for up to 50 images per class; from 100 on they take 10 on CIFAR-10."""
    image_momentum: float = 0.5
    real_batch: int = 256
    """Real images per class in a step."""
    strategy: tuple[Operation, ...] = ()
    """The operations of which one is drawn each time, as for gradient matching."""
    augment: Literal["none", "siamese"] = "siamese"
    """siamese: one draw for the real and the synthetic images of a class."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "iterations", "real_batch")
        at_least(0, self, "image_lr", "image_momentum")


@dataclass(frozen=True)
class Forgetting(MethodSettings):
    """The real images that a network forgets most often while it learns all of them.

    The values are those of the authors' code (mtoneva/example_forgetting, `run_cifar.py`). There a
    ResNet-18 sees images that are cropped and mirrored at random, and the counts of five runs are
    added up; here it is one run of the network asked for, on images as they are. For MNIST they
    take batches of 64, a constant rate of 0.01, momentum 0.5 and no weight decay.
    """

    epochs: int = 200
    """Passes over the training split; an image can be forgotten once in two of them."""
    batch: int = 128
    lr: float = 0.1
    """Divided by five after 30, 60 and 80 per cent of the epochs."""
    momentum: float = 0.9
    """Nesterov's."""
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "epochs", "batch")
        at_least(0, self, "lr", "momentum", "weight_decay")


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
    """Fresh networks trained on a condensed set and tested on the real test split (§4.1).

    On a set that was learnt together with learning rates (DD) they are trained with those alone;
    then only `networks` and `network` matter.
    """

    networks: int = 20
    """Freshly initialised networks; 0 tests nothing."""
    epochs: int | None = None
    """None: the paper's, 1000 with augmentation and 300 without."""
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
        check_values(self)
        at_least(0, self, "networks", "lr", "momentum", "weight_decay")
        at_least(1, self, "epochs", "batch")
