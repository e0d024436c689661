"""Improved distribution matching: IDM (Zhao, Li, Qin & Yu 2023).

As in DM the mean embedding of the synthetic images approaches that of the real images of their
class. But the networks are trained on real images, for more or fewer steps, and these networks must
recognise the synthetic images: their cross-entropy is part of the loss.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from condense.condensed_set import CondensedSet
from condense.config.methods import ImprovedDistributionMatching
from condense.data.image_data import ImageData
from condense.methods.distribution_matching import DistributionMatcher, match_distributions
from condense.methods.selection import require_images
from condense.methods.unrolled import Weights
from condense.models.build import build
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.system.memory import check_memory
from condense.training.schedule import Schedule
from condense.training.training_split import train_on_split

AGES = (0.05, 0.15, 0.5, 1.0)
"""Ages at which a network is used, as fractions of its training steps."""
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
"""Of the training of a network, as in the authors' code."""


def condense_by_improved_distribution_matching(
    data: ImageData, settings: ImprovedDistributionMatching, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set; the computation runs on its device.
        settings: iterations, learning rates, networks and augmentation.
        seed: each network and each iteration uses its own random stream, derived from the seed.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it, and
            trains the networks again.

    Raises:
        UserError: a setting is invalid, or a class has too few images.
    """
    require_images(data, settings.ipc)
    matcher = ImprovedMatcher(data, settings, seed, checkpointer)
    return match_distributions(matcher, seed, checkpointer)


class ImprovedMatcher(DistributionMatcher):
    """Matches images in networks at several ages of their training, with a cross-entropy."""

    def __init__(
        self,
        data: ImageData,
        settings: ImprovedDistributionMatching,
        seed: int,
        checkpointer: Checkpointer,
    ) -> None:
        super().__init__(data, settings)
        strategy = self.strategy if self._siamese else ()
        self._networks = TrainedNetworks(data, settings, seed, strategy, checkpointer)
        self._ce_weight = settings.ce_weight

    def set_weights(self, draws: torch.Generator) -> None:
        """Give the network the weights of a trained one, at one of its ages."""
        self.network.load_state_dict(self._networks.sample(draws))

    def loss(self, target: Tensor, embedded: Tensor, classes: slice) -> Tensor:
        """Σ_c ‖difference of the mean embeddings‖² + λ · mean cross-entropy of the images of c."""
        count = embedded.shape[1]
        numbers = torch.arange(self.data.classes, device=embedded.device)[classes]
        logits = self.network.classifier(embedded.flatten(0, 1))
        entropy = F.cross_entropy(logits, numbers.repeat_interleave(count), reduction="sum")
        return super().loss(target, embedded, classes) + self._ce_weight * entropy / count


class TrainedNetworks:
    """Weights of networks at several ages, on the CPU. A network is trained when it is first drawn.

    Args:
        data: the real images.
        settings: the networks and their training.
        seed: each network has its own random stream, derived from it.
        strategy: augmentation of the training, may be empty.
        checkpointer: receives the progress of the training.

    Raises:
        UserError: the weights do not fit into memory.
    """

    def __init__(
        self,
        data: ImageData,
        settings: ImprovedDistributionMatching,
        seed: int,
        strategy: tuple[str, ...],
        checkpointer: Checkpointer,
    ) -> None:
        self.data, self.settings, self.seed, self.strategy = data, settings, seed, strategy
        self._checkpointer = checkpointer
        network = build(settings.network, data.shape, data.classes, device="meta")
        size = sum(tensor.nbytes for tensor in network.state_dict().values())
        self._count = min(settings.net_num, settings.iterations)
        count = self._count * len(AGES)
        what = f"net-num {settings.net_num} is too large: keeping {count} copies"
        check_memory(size * count, what)
        self._trained: dict[int, list[Weights]] = {}

    def sample(self, draws: torch.Generator) -> Weights:
        """The weights of one network at one age, both drawn."""
        number = int(torch.randint(self.settings.net_num, (), generator=draws))
        age = int(torch.randint(len(AGES), (), generator=draws))
        return self.weights(number, age)

    def weights(self, number: int, age: int) -> Weights:
        """The weights of a network at the age `AGES[age]`."""
        if number not in self._trained:
            self._trained[number] = self._train(number)
        return self._trained[number][age]

    def _train(self, number: int) -> list[Weights]:
        """Train a network; its weights at each age."""
        data, settings = self.data, self.settings
        draws = generator(self.seed, "network", number)
        network = build(settings.network, data.shape, data.classes, draws, device=data.device)
        schedule = Schedule(
            settings.net_steps,
            settings.batch_train,
            settings.lr_net,
            momentum=MOMENTUM,
            weight_decay=WEIGHT_DECAY,
        )
        ages = [round(fraction * settings.net_steps) for fraction in AGES]
        kept: list[Weights] = []
        stage = f"training network {len(self._trained) + 1} of {self._count}"

        def keep(done: int) -> None:
            self._checkpointer.stage(stage, settings.net_steps, done)
            weights = network.state_dict()
            for _ in range(ages.count(done)):
                kept.append({name: tensor.to("cpu", copy=True) for name, tensor in weights.items()})

        train_on_split(network, data, schedule, draws, self.strategy, report=keep)
        return kept
