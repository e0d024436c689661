"""The architectures by name; weights are initialised from a generator.

Each network is a feature extractor and a linear classifier: herding and exemplars use
`network.features(images)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from condense.config.network import Network
from condense.errors import UserError, unknown
from condense.models.classic import alexnet, fc1, lenet, mlp, resnet18, vgg11
from condense.models.convnet import convnet
from condense.models.layers import Features, Shape
from condense.seeds import generator as new_generator
from condense.system.memory import check_memory
from condense.system.plain_torch import plain_torch
from condense.validation import require_class, with_article

LARGEST = 2**31 - 1
"""Maximum number of parameters of a network."""
DRAWN = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose weights `initialise` draws."""
RESET = (nn.GroupNorm, nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""Layers whose weights it sets to one and zero."""
COPIES = 2
"""Minimum copies of the parameters in training: the parameters and their gradients."""


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


@plain_torch()
def build(
    settings: Network,
    shape: Shape,
    classes: int,
    generator: torch.Generator | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Classifier:
    """The network with these settings for images of this shape.

    Args:
        settings: the architecture and its size.
        shape: channels, height and width of the images.
        classes: number of outputs.
        generator: the weights are initialised from it, with the same numbers on every device;
            default: a new one with seed 0.
        device: where the network is created; "meta": layers and shapes without memory.

    Raises:
        UserError: the architecture is unknown, the image is too small for the depth, or the
            network is too large for the memory.
    """
    require_class("settings", settings, Network)
    if settings.architecture not in ARCHITECTURES:
        raise unknown("architecture", settings.architecture, ARCHITECTURES)
    settings = settings.for_images(shape)
    with torch.device("meta"):
        layers = ARCHITECTURES[settings.architecture](settings, shape)
        features = Features(*layers)
        features.precision = settings.precision
        network = Classifier(features, _dimensions(features, settings, shape), classes)
    _check_size(network, settings)
    network = network.to_empty(device=device)
    if torch.device(device).type != "meta":
        initialise(network, generator or new_generator(0))
    return network


@plain_torch()
@torch.no_grad()
def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Reinitialise all weights in place, as PyTorch's layers: U(±1/√fan_in) (Kaiming, a = √5).

    Raises:
        UserError: a layer with weights is none of `DRAWN` and `RESET`.
    """
    for module in network.modules():
        if isinstance(module, DRAWN):
            bound = 1 / math.sqrt(module.weight[0].numel())
            for parameter in module.parameters():
                drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                parameter.copy_(drawn)
        elif isinstance(module, RESET):
            module.reset_parameters()
        elif next(module.parameters(recurse=False), None) is not None:
            raise UserError(
                f"initialise knows no weights of {with_article(type(module))}, only those of "
                f"{', '.join(kind.__name__ for kind in (*DRAWN, *RESET))}"
            )


ARCHITECTURES: dict[str, Callable[[Network, Shape], nn.Sequential]] = {
    "convnet": convnet,
    "mlp": mlp,
    "fc1": fc1,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg11": vgg11,
    "resnet18": resnet18,
}


def _check_size(network: nn.Module, settings: Network) -> None:
    """Raise UserError if the network has too many parameters to be trained here."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    what = f"the network {settings} has {parameters:,} parameters"
    if parameters > LARGEST:
        raise UserError(f"{what}, above {LARGEST:,}: choose a smaller --width or --depth")
    check_memory(COPIES * 4 * parameters, f"{what}: choose a smaller --width or --depth, as it")


def _dimensions(features: nn.Module, settings: Network, shape: Shape) -> int:
    # One image, as in a class with one image; batch norm needs several.
    images = 2 if settings.norm == "batch" else 1
    try:
        return features(torch.empty(images, *shape)).shape[1]  # type: ignore[no-any-return]
    except (RuntimeError, ValueError) as error:
        size = f"{shape[1]}×{shape[2]}"
        raise UserError(f"images of {size} are too small for the network {settings}") from error
