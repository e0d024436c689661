"""Dataset condensation by gradient matching: DSA, Algorithm 1 of the paper, and DC.

The synthetic images are optimised so that their gradients match those of the real images of their
class, over many newly initialised networks and along the first steps of their training on the
synthetic set.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from condense.augment.params import (
    AugmentParams,
    augment_batch,
    chosen_strategy,
    sample_params,
)
from condense.condensed_set import CondensedSet
from condense.config.methods import Augment, GradientMatching
from condense.data.image_data import ImageData
from condense.errors import unknown
from condense.gradients.distances import DISTANCES
from condense.gradients.per_class import (
    distance_gradient,
    matched_parameters,
    stacked_class_gradients,
)
from condense.methods.batch_norm import calibrate
from condense.methods.initialisation import initial_images
from condense.methods.optimisation import learning_rate, optimise_images, synthetic_images
from condense.methods.real_batches import augmented, real_rows
from condense.methods.selection import NO_GRADIENT, require_images, require_several_classes
from condense.methods.synthetic import SyntheticImages
from condense.models.build import build, initialise
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.storage.capacity import images_per_class
from condense.training.chunking import (
    chunk_size_for,
    class_chunks,
    has_batch_norm,
    matching_bytes,
    max_items,
    max_training_batch,
    training_bytes,
    widest_layer,
)
from condense.training.cuda_graphs import CapturedStep
from condense.training.loop import Step, train
from condense.training.ranks import world_size
from condense.training.schedule import Schedule
from condense.training.threads import map_chunks, worker_threads

CACHE_BYTES = 8 << 20
"""Size of the activations of the widest layer in one forward pass on a CPU."""

GRADIENTS_KEPT = 6
"""Tensors of the size of the weights per class: both gradients, and what D keeps for backward."""


def condense_by_gradient_matching(
    data: ImageData, settings: GradientMatching, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """Algorithm 1: a set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set 𝒯; the computation runs on its device.
        settings: loops, learning rates and augmentation.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a setting is invalid, a class has too few images, or there is only one class.
    """
    matcher = Matcher(data, settings, seed)
    with worker_threads(data.device):
        return optimise_images(data, settings, seed, checkpointer, matcher.outer_iteration)


class Matcher:
    """One run of the algorithm: the data, the settings and the steps."""

    def __init__(self, data: ImageData, settings: GradientMatching, seed: int) -> None:
        if settings.distance not in DISTANCES:
            raise unknown("distance", settings.distance, DISTANCES)
        self.data, self.settings, self.seed = data, settings, seed
        used = {settings.augment_real, settings.augment_synthetic} != {"none"}
        self.strategy = chosen_strategy(settings.dsa_strategy, data.hflip, used=used)
        self.outer_loop, self.inner_loop = settings.loops()
        require_images(data, settings.ipc)
        require_several_classes(data, f"{NO_GRADIENT}, so there is nothing to match")
        self.classes = torch.arange(data.classes, device=data.device)
        self.images_per_class = images_per_class(data, settings)
        self.labels = self.classes.repeat_interleave(self.images_per_class)
        self.network = build(settings.network, data.shape, data.classes, device=data.device)
        self.distance = DISTANCES[settings.distance]
        self.matched = matched_parameters(self.network, self.distance)
        self.chunk_size = self._chunk_size()
        self.step = self._step()
        self.max_images, self.class_chunks = self._class_chunks()

    def initial_images(self) -> Tensor:
        """The initial synthetic images, [classes, n, c, h, w], normalised."""
        return initial_images(self.data, self.settings, self.seed)

    def synthetic(self, images: Tensor) -> SyntheticImages:
        """Images [classes, n, c, h, w], normalised, as `outer_iteration` updates them."""
        return synthetic_images(self.data, self.settings, images)

    def outer_iteration(self, synthetic: SyntheticImages, k: int) -> float:
        """One network initialisation and T steps along its training; updates the images in place.

        Args:
            synthetic: the images.
            k: the iteration.

        Returns:
            The matching distance, averaged over classes and steps.
        """
        draws = generator(self.seed, "outer", k)
        initialise(self.network, draws)
        lr = learning_rate(self.settings, k)
        total = torch.zeros((), device=self.data.device)
        for t in range(self.outer_loop):
            calibrate(self.network, self.data, draws)
            sample = synthetic.sample(self.settings.batch_syn, draws)
            gradient, distance = self.match(sample.images, draws)
            synthetic.step(sample, gradient, lr)
            total += distance
            if t < self.outer_loop - 1:
                self.train_network(synthetic.images(), draws)
        return float(total / (self.outer_loop * len(self.classes)))

    def match(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """The gradient of Σ_c D(∇_θ L_c^S, ∇_θ L_c^T) with respect to `images`, and its value.

        With batch norm call `calibrate` first.
        """
        rows = real_rows(self.data, self.settings.batch_real, draws)
        largest = max(map(len, rows))
        shared = sample_params(self.strategy, draws, groups=len(rows))
        on_real = self._omega(self.settings.augment_real, shared, largest, draws)
        on_synthetic = self._omega(self.settings.augment_synthetic, shared, images.shape[1], draws)

        def match_classes(chunk: slice) -> tuple[Tensor, Tensor]:
            return self._match_classes(
                images[chunk],
                self.classes[chunk],
                rows[chunk],
                on_real[chunk] if on_real else None,
                on_synthetic[chunk] if on_synthetic else None,
            )

        gradients, distances = zip(*map_chunks(match_classes, self.class_chunks), strict=True)
        return torch.cat(gradients), torch.stack(distances).sum()

    def _match_classes(
        self,
        images: Tensor,
        classes: Tensor,
        rows: Sequence[Tensor],
        on_real: AugmentParams | None,
        on_synthetic: AugmentParams | None,
    ) -> tuple[Tensor, Tensor]:
        """`match` for some classes, with all random numbers given."""
        target = stacked_class_gradients(
            self.network,
            augmented(self.data, rows, on_real),
            classes,
            self.matched,
            self.chunk_size,
        )
        images = images.detach().requires_grad_()
        seen = torch.stack(on_synthetic.apply(images)) if on_synthetic else images
        gradient, distance = distance_gradient(
            self.network, seen, classes, target, self.distance, self.max_images
        )
        if on_synthetic:
            (gradient,) = torch.autograd.grad(seen, images, gradient)
        return gradient, distance

    def train_network(self, images: Tensor, draws: torch.Generator) -> None:
        """Train ς_θ epochs on the whole synthetic set, augmented image by image (line 10)."""
        settings = self.settings
        schedule = Schedule.of_epochs(
            self.inner_loop, len(self.labels), settings.batch_train, lr=settings.lr_net
        )
        augment = partial(augment_batch, strategy=self.strategy, generator=draws)
        train(
            self.network,
            images.flatten(0, 1),
            self.labels,
            schedule,
            draws,
            transform=augment if settings.augment_synthetic != "none" else None,
            step=self.step,
        )

    def _omega(
        self, side: Augment, shared: AugmentParams, images: int, draws: torch.Generator
    ) -> AugmentParams | None:
        """The parameters for one side: none, those shared by both sides, or one set per image."""
        if side == "none":
            return None
        if side == "siamese":
            return shared
        return sample_params(self.strategy, draws, groups=self.data.classes, images=images)

    def _step(self) -> Step:
        """The training step of the network in the loop."""
        device = self.data.device
        max_batch = max_training_batch(self.network, self.data.shape, device)
        # What is recorded cannot wait for other ranks, with whom a step divides its batch.
        alone = device.type == "cuda" and world_size() == 1
        if self.settings.cuda_graphs and alone and not has_batch_norm(self.network):
            return CapturedStep(self.network, max_batch)
        return Step(self.network, max_batch)

    def _chunk_size(self) -> int:
        """Real images per forward pass."""
        fit = max_items(self.data.device, training_bytes(self.network, self.data.shape))
        if self.data.device.type != "cpu":
            return fit
        layer = widest_layer(self.network, self.data.shape)
        return min(fit, max(8, CACHE_BYTES // layer))

    def _class_chunks(self) -> tuple[int, list[slice]]:
        """How many synthetic images of a class, and which classes, share a graph in memory."""
        image = matching_bytes(self.network, self.data.shape)
        weights = sum(weight.nbytes for weight in self.matched.values())
        count = min(self.images_per_class, self.settings.batch_syn or self.images_per_class)
        label = count * image + GRADIENTS_KEPT * weights
        device = self.data.device
        some = class_chunks(self.data.classes, chunk_size_for(device, label), device)
        return max_items(device, image), some
