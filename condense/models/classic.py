"""MLP, LeNet, AlexNet, VGG-11 and ResNet-18, as in the published experiments; FC1 as in KIP."""

from __future__ import annotations

import math

from torch import Tensor, nn

from condense.config.network import Network
from condense.models.layers import NORMS, Shape


def mlp(settings: Network, shape: Shape) -> nn.Sequential:
    """Two hidden layers of 128 units."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()
    )


def fc1(settings: Network, shape: Shape) -> nn.Sequential:
    """One hidden layer of `width` units, on which KIP is tested (Nguyen et al. 2021)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), settings.width), nn.ReLU())


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
    """Krizhevsky et al. 2012, reduced for small images as in the published experiments."""
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
    """He et al. 2016, with a stem for small images; a norm after each convolution."""
    stem = nn.Conv2d(shape[0], 64, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, *NORMS[settings.norm](64), nn.ReLU()]
    channels = 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        layers.append(ResidualBlock(channels, width, stride, settings.norm))
        layers.append(ResidualBlock(width, width, 1, settings.norm))
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a shortcut, with a projection if the size changes."""

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
