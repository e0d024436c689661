"""Dataset condensation by gradient matching: DSA, Algorithm 1 of the paper, and DC.

The images of a set are moved so that the gradients that they give a network are those that the
real images of their class give it, over many freshly initialised networks and along their first
steps of training on the set itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from condense.augment import Omega, check_strategy, default_strategy, draw
from condense.capture import CapturedStep
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.errors import unknown
from condense.footprint import (
    at_once,
    groups,
    has_batch_norm,
    matching_bytes,
    piece_of,
    training_bytes,
    training_piece,
)
from condense.journal import Journal
from condense.matching import (
    DISTANCES,
    distance_gradient,
    matched_parameters,
    stacked_class_gradients,
)
from condense.methods.calibration import calibrate
from condense.methods.coresets import require_images
from condense.methods.images import augmented, initial_images, match_images, real_rows
from condense.networks import build, initialise
from condense.parallel import map_pieces, worker_threads
from condense.seeds import generator
from condense.settings import GradientMatching, Side
from condense.training import Schedule, Step, train

CACHE_BYTES = 8 << 20
"""Activations of the widest layer that go through the network at once on a CPU."""

GRADIENTS_KEPT = 6
"""Tensors as large as the weights that a class needs: both gradients, and what D keeps of them."""


def condense_by_gradient_matching(
    data: ImageData, settings: GradientMatching, seed: int, journal: Journal
) -> CondensedSet:
    """Algorithm 1: a set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set 𝒯; its device is the one that is computed on.
        settings: the loops, rates and augmentations.
        seed: the k-th outer iteration draws from a stream of its own, made of the seed and k.
        journal: told of every outer iteration; an interrupted run goes on from it.

    Raises:
        UserError: for a setting that makes no sense, or a class with too few images.
    """
    matcher = Matcher(data, settings, seed)
    with worker_threads(data.device):
        return match_images(data, settings, seed, journal, settings.outer, matcher.outer_iteration)


class Matcher:
    """One condensation: the data, the settings, and the steps of the algorithm on them."""

    def __init__(self, data: ImageData, settings: GradientMatching, seed: int) -> None:
        if settings.distance not in DISTANCES:
            raise unknown("distance", settings.distance, DISTANCES)
        self.data, self.settings, self.seed = data, settings, seed
        self.strategy = settings.strategy or default_strategy(data.mirror)
        check_strategy(self.strategy)
        self.inner, self.network_epochs = settings.loops()
        require_images(data, settings.ipc)
        self.classes = torch.arange(data.classes, device=data.device)
        self.labels = self.classes.repeat_interleave(settings.ipc)
        self.network = build(settings.network, data.shape, data.classes).to(data.device)
        self.distance = DISTANCES[settings.distance]
        self.matched = matched_parameters(self.network, self.distance)
        self.chunk = self._chunk()
        self.step = self._step()
        self.piece, self.groups = self._pieces()

    def initial_images(self) -> Tensor:
        """What the synthetic images start from, [classes, ipc, c, h, w], normalised."""
        return initial_images(self.data, self.settings, self.seed)

    def outer_iteration(self, images: Tensor, velocity: Tensor, k: int) -> float:
        """One network initialisation and T steps along its training; moves `images` in place.

        Args:
            images: [classes, ipc, c, h, w], normalised.
            velocity: their momentum, of the same shape.
            k: the number of the initialisation.

        Returns:
            The matching distance per class and step, averaged.
        """
        draws = generator(self.seed, "outer", k)
        initialise(self.network, draws)
        lr = self.image_lr(k)
        total = torch.zeros((), device=images.device)
        for t in range(self.inner):
            gradient, distance = self.match(images, draws)
            velocity.mul_(self.settings.image_momentum).add_(gradient)
            images.sub_(velocity, alpha=lr)
            total += distance
            if t < self.inner - 1:
                self.train_network(images, draws)
        return float(total / (self.inner * len(self.classes)))

    def image_lr(self, k: int) -> float:
        """The images' learning rate in the k-th outer iteration."""
        settings = self.settings
        if settings.image_schedule == "constant":
            return settings.image_lr
        return settings.image_lr * (1 + math.cos(math.pi * (k + 0.5) / settings.outer)) / 2

    def match(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """The gradient of Σ_c D(∇_θ L_c^S, ∇_θ L_c^T) with respect to `images`, and its value."""
        calibrate(self.network, self.data, draws)
        rows = real_rows(self.data, self.settings.real_batch, draws)
        largest = max(map(len, rows))
        shared = draw(self.strategy, draws, groups=len(rows))
        on_real = self._omega(self.settings.augment_real, shared, largest, draws)
        on_synthetic = self._omega(self.settings.augment_synthetic, shared, images.shape[1], draws)

        def match_classes(group: slice) -> tuple[Tensor, Tensor]:
            return self._match_classes(
                images[group],
                self.classes[group],
                rows[group],
                on_real[group] if on_real else None,
                on_synthetic[group] if on_synthetic else None,
            )

        gradients, distances = zip(*map_pieces(match_classes, self.groups), strict=True)
        return torch.cat(gradients), torch.stack(distances).sum()

    def _match_classes(
        self,
        images: Tensor,
        classes: Tensor,
        rows: Sequence[Tensor],
        on_real: Omega | None,
        on_synthetic: Omega | None,
    ) -> tuple[Tensor, Tensor]:
        """As `match`, of some classes, once everything has been drawn."""
        target = stacked_class_gradients(
            self.network, augmented(self.data, rows, on_real), classes, self.matched, self.chunk
        )
        images = images.detach().requires_grad_()
        seen = torch.stack(on_synthetic.apply(images)) if on_synthetic else images
        gradient, distance = distance_gradient(
            self.network, seen, classes, target, self.distance, self.piece
        )
        if on_synthetic:
            (gradient,) = torch.autograd.grad(seen, images, gradient)
        return gradient, distance

    def train_network(self, images: Tensor, draws: torch.Generator) -> None:
        """ς_θ epochs on the whole synthetic set, augmented image by image (line 10)."""
        settings = self.settings
        schedule = Schedule.of_epochs(
            self.network_epochs, len(self.labels), settings.network_batch, lr=settings.network_lr
        )
        strategy = self.strategy if settings.augment_synthetic != "none" else ()
        train(
            self.network,
            images.flatten(0, 1),
            self.labels,
            schedule,
            draws,
            strategy=strategy,
            step=self.step,
        )

    def _omega(
        self, side: Side, shared: Omega, images: int, draws: torch.Generator
    ) -> Omega | None:
        """The draw for one side: none, the one that both sides share, or one for each image."""
        if side == "none":
            return None
        if side == "siamese":
            return shared
        return draw(self.strategy, draws, groups=self.data.classes, images=images)

    def _step(self) -> Step:
        """Of the network in the loop."""
        device = self.data.device
        piece = training_piece(self.network, self.data.shape, device)
        if self.settings.capture and device.type == "cuda" and not has_batch_norm(self.network):
            return CapturedStep(self.network, piece)
        return Step(self.network, piece)

    def _chunk(self) -> int:
        """Real images that go through the network at once."""
        fit = at_once(self.data.device, training_bytes(self.network, self.data.shape))
        if self.data.device.type != "cpu":
            return fit
        _, height, width = self.data.shape
        return min(fit, max(8, CACHE_BYTES // (4 * self.settings.network.width * height * width)))

    def _pieces(self) -> tuple[int, list[slice]]:
        """Synthetic images of a class, and classes, whose gradients' graph is kept at once."""
        image = matching_bytes(self.network, self.data.shape)
        weights = sum(weight.nbytes for weight in self.matched.values())
        label = self.settings.ipc * image + GRADIENTS_KEPT * weights
        classes = piece_of(self.data.device, label)
        return at_once(self.data.device, image), groups(self.data.classes, classes)
