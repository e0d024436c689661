"""The architectures, built by name; their weights drawn from a generator.

Each is a feature extractor and a linear classifier, so that herding and rehearsal can look at
`network.features(images)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin
from torch.nn.parameter import UninitializedParameter

from condense.errors import UserError, unknown
from condense.machine import check_memory
from condense.settings import Network

LARGEST = 2**31 - 1
"""Parameters of a network."""
COPIES = 2
"""Of the parameters, that there are at least when it learns: these and their gradients."""

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""


class Classifier(nn.Module):
    """`classifier(features(images))`: [n, c, h, w] -> [n, classes]."""

    def __init__(self, features: nn.Module, dimensions: int, classes: int) -> None:
        super().__init__()
        self.features = features
        self.classifier = nn.Linear(dimensions, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [n, classes] of images [n, c, h, w]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits


class Features(nn.Sequential):
    """Layers one after the other, in a precision: [n, c, h, w] -> [n, d], floats of one kind."""

    precision = "float32"

    def forward(self, images: Tensor) -> Tensor:
        """Weights stay as they are; in bfloat16 each operation is given what autocast says.

        On the meta device, where nothing is computed, it is float32 always.
        """
        mixed = self.precision != "float32" and images.device.type != "meta"
        kind = getattr(torch, self.precision)
        with torch.autocast(images.device.type, kind) if mixed else nullcontext():
            found: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        return found.float() if mixed else found


def build(
    settings: Network, shape: Shape, classes: int, generator: torch.Generator | None = None
) -> Classifier:
    """The network of these settings for images of this shape, on the CPU.

    Its weights are drawn from `generator`; without one they are left for `initialise`.

    Raises:
        UserError: as `blueprint`.
    """
    network = blueprint(settings, shape, classes).to_empty(device="cpu")
    if generator is not None:
        initialise(network, generator)
    return network


def blueprint(settings: Network, shape: Shape, classes: int) -> Classifier:
    """The same network on PyTorch's meta device: layers and shapes without memory.

    Raises:
        UserError: for an unknown architecture, or where the image is too small for the depth or
            memory for the network.
    """
    if settings.architecture not in ARCHITECTURES:
        raise unknown("architecture", settings.architecture, ARCHITECTURES)
    with torch.device("meta"):
        layers = ARCHITECTURES[settings.architecture](settings, shape)
        features = Features(*layers)
        features.precision = settings.precision
        network = Classifier(features, _dimensions(features, settings, shape), classes)
    _check_size(network, settings)
    return network


@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights anew, in place, as PyTorch's layers do: U(±1/√fan_in) (Kaiming, a = √5)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters():
                drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.copy_(drawn)
        elif isinstance(module, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d):
            module.reset_parameters()


def convnet(settings: Network, shape: Shape) -> nn.Sequential:
    """[conv 3×3 → norm → activation → 2×2 pooling] × depth (Gidaris & Komodakis 2018)."""
    channels, height, _ = shape
    blocks: list[nn.Module] = []
    for block in range(settings.depth):
        # The paper's networks see 28×28 images as 32×32: the first convolution pads by two more.
        padding = 3 if block == 0 and height == 28 else 1
        blocks.append(nn.Conv2d(channels, settings.width, 3, padding=padding))
        blocks += NORMS[settings.norm](settings.width)
        blocks.append(ACTIVATIONS[settings.activation]())
        blocks += POOLINGS[settings.pooling]()
        channels = settings.width
    return nn.Sequential(*blocks, nn.Flatten())


def mlp(settings: Network, shape: Shape) -> nn.Sequential:
    """Two hidden layers of 128 units."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()
    )


def lenet(settings: Network, shape: Shape) -> nn.Sequential:
    """LeCun et al. 1998, with ReLU and max pooling."""
    channels, height, _ = shape
    return nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=2 if height == 28 else 0),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.LazyLinear(120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
    )


def alexnet(settings: Network, shape: Shape) -> nn.Sequential:
    """Krizhevsky et al. 2012, cut down for small images as in the published experiments."""
    channels, height, _ = shape
    layers: list[nn.Module] = [
        nn.Conv2d(channels, 128, 5, padding=4 if height == 28 else 2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    for before, after in ((192, 256), (256, 192), (192, 192)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten())


def vgg11(settings: Network, shape: Shape) -> nn.Sequential:
    """Simonyan & Zisserman 2015, configuration A, with a norm after each convolution."""
    channels, height, _ = shape
    layers: list[nn.Module] = []
    for block, widths in enumerate([(64,), (128,), (256, 256), (512, 512), (512, 512)]):
        for width in widths:
            padding = 3 if block == 0 and height == 28 else 1
            layers.append(nn.Conv2d(channels, width, 3, padding=padding))
            layers += [*NORMS[settings.norm](width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.Flatten())


def resnet18(settings: Network, shape: Shape) -> nn.Sequential:
    """He et al. 2016, its stem fitted to small images; a norm after each convolution."""
    stem = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, *NORMS[settings.norm](64), nn.ReLU()]
    channels = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers.append(ResidualBlock(channels, width, stride, settings.norm))
        layers.append(ResidualBlock(width, width, 1, settings.norm))
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is projected where the size changes."""

    def __init__(self, channels: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
            *NORMS[norm](width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            *NORMS[norm](width),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            project = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(project, *NORMS[norm](width))

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, width, h / stride, w / stride]."""
        total: Tensor = self.path(images) + self.shortcut(images)
        return total.relu()


class LayerNorm(LazyModuleMixin, nn.LayerNorm):
    """Over all channels and pixels of an image, with a scale and a shift for each element.

    As in the published networks. The first images that go through, which are those of a blueprint,
    show the shape.
    """

    weight: UninitializedParameter  # type: ignore[assignment]
    bias: UninitializedParameter  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__((0,), elementwise_affine=False)
        self.elementwise_affine = True
        self.weight, self.bias = UninitializedParameter(), UninitializedParameter()

    def initialize_parameters(self, images: Tensor) -> None:
        """Take the shape from images [n, c, h, w]."""
        self.normalized_shape = tuple(images.shape[1:])
        for parameter in (self.weight, self.bias):
            parameter.materialize(self.normalized_shape)

    def forward(self, images: Tensor) -> Tensor:
        """[n, c, h, w] -> [n, c, h, w]."""
        # Not F.layer_norm: under vmap its gradient cannot be differentiated rightly (torch 2.15).
        return F.group_norm(images, 1, eps=self.eps) * self.weight + self.bias


class AveragePool(nn.Module):
    """2×2 average pooling, the same numbers as `nn.AvgPool2d(2)`.

    On a CPU as a product with a small matrix, which takes a fifth of the time of PyTorch's own
    pooling, forward and backward, and so a quarter off a whole training step.
    """

    def forward(self, images: Tensor) -> Tensor:
        """[..., h, w] -> [..., h / 2, w / 2]."""
        *rest, height, width = images.shape
        if images.device.type != "cpu" or height % 2 or width % 2:
            return F.avg_pool2d(images, 2)
        pairs_of_rows = images.reshape(*rest, height // 2, 2 * width)
        return pairs_of_rows @ _pooling_matrix(width, images.dtype)


@lru_cache
@torch.inference_mode(False)  # it is kept, and may be trained with later
def _pooling_matrix(width: int, dtype: torch.dtype) -> Tensor:
    """Takes two rows of `width` pixels, one behind the other, to a row of means; [2w, w / 2]."""
    columns = torch.eye(width // 2, dtype=dtype, device="cpu").repeat_interleave(2, 0)
    return columns.repeat(2, 1) / 4


ARCHITECTURES: dict[str, Callable[[Network, Shape], nn.Sequential]] = {
    "convnet": convnet,
    "mlp": mlp,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "resnet18": resnet18,
}

# One group a channel is instance normalisation.
NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "instance": lambda width: [nn.GroupNorm(width, width)],
    "batch": lambda width: [nn.BatchNorm2d(width)],
    "layer": lambda width: [LayerNorm()],
    "group": lambda width: [nn.GroupNorm(4, width)],
    "none": lambda width: [],
}
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leakyrelu": lambda: nn.LeakyReLU(0.01),
    "sigmoid": nn.Sigmoid,
}
POOLINGS: dict[str, Callable[[], list[nn.Module]]] = {
    "avg": lambda: [AveragePool()],
    "max": lambda: [nn.MaxPool2d(2)],
    "none": lambda: [],
}


def _check_size(network: nn.Module, settings: Network) -> None:
    """UserError where the network has too many parameters to be trained here."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    what = f"the network {settings} has {parameters:,} parameters"
    if parameters > LARGEST:
        raise UserError(f"{what}, above {LARGEST:,}: choose a smaller --width or --depth")
    check_memory(COPIES * 4 * parameters, f"{what}: choose a smaller --width or --depth, as it")


def _dimensions(features: nn.Module, settings: Network, shape: Shape) -> int:
    # One image, as a class with one has it; batch norm wants several, where nothing else would do.
    images = 2 if settings.norm == "batch" else 1
    try:
        return features(torch.empty(images, *shape)).shape[1]  # type: ignore[no-any-return]
    except (RuntimeError, ValueError) as error:
        size = f"{shape[1]}×{shape[2]}"
        raise UserError(f"images of {size} are too small for the network {settings}") from error
