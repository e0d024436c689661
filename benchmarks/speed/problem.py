"""The problem of the speed comparison: its settings, and random images of the same size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from benchmarks.commands import cores
from benchmarks.rows import RESULTS
from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.config.network import Network

if TYPE_CHECKING:
    from torch import Tensor

    from condense.data.image_data import ImageData

PAPER_EPOCHS = 1000
"""Epochs of an evaluation in the paper."""

PartName = Literal[
    "real gradients",
    "synthetic gradients",
    "class sweep",
    "siamese augmentation",
    "independent augmentation",
    "inner loop",
    "evaluation",
    "outer iteration",
]


@dataclass(frozen=True)
class Speed:
    """Compare the engine's speed with the reference."""

    device: str = "cpu"
    threads: int = cores()
    minutes: float = 10.0
    """No round is started after this time; the first one is always finished."""
    parts: tuple[PartName, ...] = get_args(PartName)[:-1]
    """What to measure. An outer iteration of the paper's length takes minutes on a CPU; if it is
    not measured, it is added up from class sweeps and inner loops."""
    width: int = 128
    depth: int = 3
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the engine's network; reference and roofline use float32."""
    cuda_graphs: bool = False
    """On a GPU: run the engine's training steps as CUDA graphs."""
    ipc: int = 10
    classes: int = 10
    channels: int = 3
    size: int = 32
    """Image height and width in pixels."""
    batch_real: int = 256
    inner_loop: int = 2
    """Epochs of the inner loop in a round; an outer iteration uses the paper's number."""
    num_eval: int = 20
    """Networks per evaluation."""
    epoch_eval_train: int = 2
    """Training epochs of each of these networks."""
    scaling: bool = False
    """Instead, measure and draw how time and memory scale."""
    results: Path = RESULTS
    """Folder of speed.csv."""

    @property
    def problem(self) -> str:
        """A short description of the settings."""
        chosen = [self.precision] * (self.precision != "float32") + [
            "CUDA graphs"
        ] * self.cuda_graphs
        near = f" (engine: {', '.join(chosen)})" if chosen else ""
        return (
            f"ConvNet d{self.depth}-w{self.width}{near}, {self.channels}×{self.size}×{self.size}, "
            f"{self.classes} classes, {self.ipc} per class, {self.batch_real} real"
        )

    @property
    def tested(self) -> int:
        """Number of test images: the paper's 10,000, scaled by the evaluation's length."""
        return max(self.classes, 10_000 * self.epoch_eval_train // PAPER_EPOCHS)

    def matching(self, **changes: Any) -> GradientMatching:
        """The settings of an outer iteration."""
        every = {"batch_real": self.batch_real, "cuda_graphs": self.cuda_graphs, **changes}
        return GradientMatching(self.ipc, self._network(), **every)

    def evaluation(self) -> Evaluation:
        """The settings of an evaluation."""
        return Evaluation(
            num_eval=self.num_eval,
            epoch_eval_train=self.epoch_eval_train,
            network=self._network(),
        )

    def _network(self) -> Network:
        return Network(width=self.width, depth=self.depth, precision=self.precision)


def make(settings: Speed) -> tuple[ImageData, Tensor, Tensor]:
    """Real images, synthetic images [classes, ipc, c, h, w], and their labels. All are noise: the
    content does not change the run time."""
    import torch

    from condense.data.image_data import ImageData
    from condense.seeds import generator

    draws, shape = generator(0, "noise"), (settings.channels, settings.size, settings.size)

    def split(images: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(images) % settings.classes
        return torch.randint(256, (images, *shape), generator=draws, dtype=torch.uint8), labels

    names = tuple(str(label) for label in range(settings.classes))
    moments = (0.5,) * settings.channels, (0.29,) * settings.channels
    train, test = split(settings.classes * settings.batch_real), split(settings.tested)
    data = ImageData("noise", *train, *test, *moments, names).to(settings.device)
    images = torch.randn(settings.classes, settings.ipc, *shape, generator=draws)
    labels = torch.arange(settings.classes).repeat_interleave(settings.ipc)
    return data, images.to(data.device), labels.to(data.device)
