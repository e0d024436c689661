"""Dataset condensation with distribution matching: DM (Zhao & Bilen 2023, Algorithm 1).

The synthetic images are optimised so that their mean embedding matches that of the real images of
their class, over many networks with random weights. No network is trained, so a step is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from condense.augment.params import chosen_strategy, sample_params
from condense.condensed_set import CondensedSet
from condense.config.methods import DistributionMatching
from condense.data.image_data import ImageData
from condense.methods.optimisation import learning_rate, optimise_images
from condense.methods.real_batches import augmented, real_rows
from condense.methods.selection import require_images
from condense.methods.synthetic import SyntheticImages
from condense.models.build import build, initialise
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.training.chunking import class_chunks, max_forward_batch, max_training_batch
from condense.training.loop import CHUNK_SIZE, in_chunks
from condense.training.threads import map_chunks, shared_operations, worker_threads


def condense_by_distribution_matching(
    data: ImageData, settings: DistributionMatching, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set 𝒯; the computation runs on its device.
        settings: iterations, learning rate and augmentation.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.

    Raises:
        UserError: a setting is invalid, or a class has too few images.
    """
    require_images(data, settings.ipc)
    return match_distributions(DistributionMatcher(data, settings), seed, checkpointer)


class DistributionMatcher:
    """Matches synthetic images to the real ones of their class, in networks with random weights.

    Args:
        data: the real images.
        settings: the network, the real batch size, and whether to augment.
    """

    def __init__(self, data: ImageData, settings: DistributionMatching) -> None:
        self.data, self.settings = data, settings
        self._siamese = settings.augment == "siamese"
        self.strategy = chosen_strategy(settings.dsa_strategy, data.hflip, used=self._siamese)
        self.network = build(settings.network, data.shape, data.classes, device=data.device)
        self.max_batch = max_training_batch(self.network, data.shape, data.device)
        """Maximum images per forward pass, except that the synthetic images of a class are never
        split. None: no limit, for batch norm: the real images of all classes then share statistics,
        and so do the synthetic images."""

    def set_weights(self, draws: torch.Generator) -> None:
        """Give the network the weights of an iteration."""
        initialise(self.network, draws)

    def loss(self, target: Tensor, embedded: Tensor, classes: slice) -> Tensor:
        """The sum of the losses of some classes.

        Args:
            target: [classes, d], the mean embeddings of the real images.
            embedded: [classes, n, d], of the synthetic images.
            classes: the numbers of these classes.
        """
        return embedding_distance(target, embedded)

    def match(self, images: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
        """The gradient of the loss with respect to `images`, and the loss.

        Args:
            images: [classes, n, c, h, w], normalised.
            draws: for weights, real images and augmentation, in this order.
        """
        self.set_weights(draws)
        self.network.train()
        data, max_batch = self.data, self.max_batch
        rows = real_rows(data, self.settings.batch_real, draws)
        siamese = self._siamese
        omega = sample_params(self.strategy, draws, groups=data.classes) if siamese else None
        chunk_size = None if max_batch is None else max_forward_batch(max_batch)

        def match_classes(chunk: slice) -> tuple[Tensor, Tensor]:
            part = images[chunk].detach().requires_grad_()
            drawn = omega[chunk] if omega else None
            real = augmented(data, rows[chunk], drawn)
            target = mean_embeddings(self.network.features, real, chunk_size)
            changed = torch.stack(drawn.apply(part)) if drawn else part
            embedded = self.network.features(changed.flatten(0, 1))
            loss = self.loss(target, embedded.unflatten(0, part.shape[:2]), chunk)
            return torch.autograd.grad(loss, part)[0], loss.detach()

        if max_batch is None:
            with shared_operations():
                return match_classes(slice(0, data.classes))
        some = class_chunks(data.classes, max(1, max_batch // images.shape[1]), data.device)
        matched = map_chunks(match_classes, some)
        gradients, losses = zip(*matched, strict=True)
        return torch.cat(gradients), torch.stack(losses).sum()


def match_distributions(
    matcher: DistributionMatcher, seed: int, checkpointer: Checkpointer
) -> CondensedSet:
    """Optimise images, one step in each iteration, and return the set.

    Args:
        matcher: the data, the settings and the loss.
        seed: iteration k uses its own random stream, derived from the seed and k.
        checkpointer: receives progress and checkpoints; an interrupted run resumes from it.
    """
    data, settings = matcher.data, matcher.settings

    def step(synthetic: SyntheticImages, k: int) -> float:
        draws = generator(seed, "iteration", k)
        sample = synthetic.sample(settings.batch_syn, draws)
        gradient, loss = matcher.match(sample.images, draws)
        synthetic.step(sample, gradient, learning_rate(settings, k))
        return float(loss)

    with worker_threads(data.device):
        return optimise_images(data, settings, seed, checkpointer, step)


def mean_embeddings(
    embed: Callable[[Tensor], Tensor], real: Iterable[Tensor], chunk_size: int | None = CHUNK_SIZE
) -> Tensor:
    """The mean embedding of the images of each class, [classes, d], without gradients.

    Args:
        embed: [n, c, h, w] -> [n, d].
        real: for each class [n_class, c, h, w]; the numbers of images may differ.
        chunk_size: images of a class per forward pass; None: all classes in one pass.
    """
    if chunk_size is None:
        batches = list(real)
        # Not by `in_chunks`, which gives the one chunk to one thread.
        with torch.no_grad():
            embedded = embed(torch.cat(batches)).split([len(images) for images in batches])
    else:
        embedded = tuple(in_chunks(embed, images, chunk_size) for images in real)
    return torch.stack([vectors.mean(0) for vectors in embedded])


def embedding_distance(target: Tensor, embedded: Tensor) -> Tensor:
    """Σ_c ‖mean embedding of the real images of c − that of the synthetic images of c‖².

    Args:
        target: [classes, d], of the real images.
        embedded: [classes, n, d], the embeddings of the synthetic images.
    """
    return (target - embedded.mean(1)).square().sum()
