"""What the speed comparison is run on: its settings, and images that cost what real ones cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmarks.commands import cores
from condense.settings import Evaluation, GradientMatching, Network

if TYPE_CHECKING:
    from torch import Tensor

    from condense.data import ImageData

PAPER_EPOCHS = 1000
"""Of an evaluation."""

Part = Literal[
    "real side",
    "synthetic side",
    "class sweep",
    "siamese augmentation",
    "independent augmentation",
    "inner loop",
    "evaluation",
    "outer iteration",
]


@dataclass(frozen=True)
class Speed:
    """Measure the engine against the literal version."""

    device: str = "cpu"
    threads: int = cores()
    minutes: float = 10.0
    """No round is begun after this time; the first one is always finished."""
    parts: tuple[Part, ...] = get_args(Part)[:-1]
    """What to measure. An outer iteration of the paper's length takes minutes on a CPU; where it
    is not measured, it is added up from class sweeps and the inner loop."""
    width: int = 128
    depth: int = 3
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the engine's network; the literal version's is float32, and so is the floor."""
    capture: bool = False
    """On a GPU: the engine's training steps are recorded and replayed."""
    ipc: int = 10
    classes: int = 10
    channels: int = 3
    size: int = 32
    """Pixels on a side."""
    real_batch: int = 256
    updates: int = 2
    """Epochs of the inner loop in a round; the paper's number is used in an outer iteration."""
    networks: int = 20
    """That are evaluated in a round."""
    epochs: int = 2
    """That each is trained for."""
    scaling: bool = False
    """Draw how time and memory grow instead."""

    @property
    def problem(self) -> str:
        """The settings in a few words."""
        chosen = [self.precision] * (self.precision != "float32") + ["captured"] * self.capture
        near = f" (engine: {', '.join(chosen)})" if chosen else ""
        return (
            f"ConvNet d{self.depth}-w{self.width}{near}, {self.channels}×{self.size}×{self.size}, "
            f"{self.classes} classes, {self.ipc} per class, {self.real_batch} real"
        )

    @property
    def tested(self) -> int:
        """Test images: the paper's 10,000, fewer as the evaluation is shorter than the paper's."""
        return max(self.classes, 10_000 * self.epochs // PAPER_EPOCHS)

    def matching(self, **changes: Any) -> GradientMatching:
        """The settings of an outer iteration."""
        every = {"real_batch": self.real_batch, "capture": self.capture, **changes}
        return GradientMatching(self.ipc, self._network(), **every)

    def evaluation(self) -> Evaluation:
        """The settings of an evaluation."""
        return Evaluation(networks=self.networks, epochs=self.epochs, network=self._network())

    def _network(self) -> Network:
        return Network(width=self.width, depth=self.depth, precision=self.precision)


def make(settings: Speed) -> tuple[ImageData, Tensor, Tensor]:
    """Real images, synthetic ones [classes, ipc, c, h, w], their labels. They show nothing: what
    images show does not change how long they take."""
    import torch

    from condense.data import ImageData
    from condense.seeds import generator

    draws, shape = generator(0, "noise"), (settings.channels, settings.size, settings.size)

    def split(images: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(images) % settings.classes
        return torch.randint(256, (images, *shape), generator=draws, dtype=torch.uint8), labels

    names = tuple(str(label) for label in range(settings.classes))
    moments = (0.5,) * settings.channels, (0.29,) * settings.channels
    train, test = split(settings.classes * settings.real_batch), split(settings.tested)
    data = ImageData("noise", *train, *test, *moments, names).to(settings.device)
    images = torch.randn(settings.classes, settings.ipc, *shape, generator=draws)
    labels = torch.arange(settings.classes).repeat_interleave(settings.ipc)
    return data, images.to(data.device), labels.to(data.device)
