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
from condense.methods.initialisation import augmented, learning_rate, match_images, real_rows
from condense.methods.selection import require_images
from condense.methods.synthetic import SyntheticImages, match_sampled
from condense.models.build import Classifier, build, initialise
from condense.runs.checkpointer import Checkpointer
from condense.seeds import generator
from condense.training.chunking import class_chunks, max_forward_batch, max_training_batch
from condense.training.loop import CHUNK_SIZE, in_chunks
from condense.training.threads import map_chunks, worker_threads


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
    used = settings.augment != "none"
    strategy = chosen_strategy(settings.dsa_strategy, data.hflip, used=used)
    network = build(settings.network, data.shape, data.classes, device=data.device)
    max_batch = max_training_batch(network, data.shape, data.device)

    def step(synthetic: SyntheticImages, k: int) -> float:
        draws, images = generator(seed, "iteration", k), synthetic.images()

        def match_some(some: Tensor) -> tuple[Tensor, Tensor]:
            return match(network, some, data, settings, strategy, draws, max_batch)

        gradient, distance = match_sampled(match_some, images, settings.batch_syn, draws)
        synthetic.step(gradient, learning_rate(settings, k))
        return float(distance)

    with worker_threads(data.device):
        return match_images(data, settings, seed, checkpointer, step)


def match(
    network: Classifier,
    images: Tensor,
    data: ImageData,
    settings: DistributionMatching,
    strategy: tuple[str, ...],
    draws: torch.Generator,
    max_batch: int | None,
) -> tuple[Tensor, Tensor]:
    """The gradient of the embedding distance with respect to `images`, and the distance.

    Args:
        network: it is reinitialised.
        images: [classes, n, c, h, w], normalised.
        data: the real images.
        settings: the real batch size, and whether to augment.
        strategy: the operations, one of which is sampled for each class.
        draws: for weights, real images and augmentation, in this order.
        max_batch: maximum images per forward pass, except that the synthetic images of a class are
            never split. None: no limit, for batch norm: the real images of all classes then share
            statistics, and so do the synthetic images.
    """
    initialise(network, draws)
    network.train()
    rows = real_rows(data, settings.batch_real, draws)
    siamese = settings.augment == "siamese"
    omega = sample_params(strategy, draws, groups=data.classes) if siamese else None
    classes = data.classes if max_batch is None else max(1, max_batch // images.shape[1])

    def match_classes(chunk: slice) -> tuple[Tensor, Tensor]:
        part = images[chunk].detach().requires_grad_()
        drawn = omega[chunk] if omega else None
        distance = embedding_distance(
            network.features,
            augmented(data, rows[chunk], drawn),
            torch.stack(drawn.apply(part)) if drawn else part,
            None if max_batch is None else max_forward_batch(max_batch),
        )
        return torch.autograd.grad(distance, part)[0], distance.detach()

    matched = map_chunks(match_classes, class_chunks(data.classes, classes, data.device))
    gradients, distances = zip(*matched, strict=True)
    return torch.cat(gradients), torch.stack(distances).sum()


def embedding_distance(
    embed: Callable[[Tensor], Tensor],
    real: Iterable[Tensor],
    synthetic: Tensor,
    chunk_size: int | None = CHUNK_SIZE,
) -> Tensor:
    """Σ_c ‖mean of embed(real images of c) − mean of embed(synthetic images of c)‖².

    Args:
        embed: [n, c, h, w] -> [n, d].
        real: for each class [n_class, c, h, w]; the numbers of images may differ.
        synthetic: [classes, ipc, c, h, w]; the distance is differentiable in these only.
        chunk_size: real images of a class per forward pass; None: all classes in one pass.
    """
    if chunk_size is None:
        batches = list(real)
        sizes = [len(images) for images in batches]
        embedded = in_chunks(embed, torch.cat(batches), sum(sizes)).split(sizes)
    else:
        embedded = tuple(in_chunks(embed, images, chunk_size) for images in real)
    target = torch.stack([vectors.mean(0) for vectors in embedded])
    classes, ipc = synthetic.shape[:2]
    means = embed(synthetic.flatten(0, 1)).view(classes, ipc, -1).mean(1)
    return (target - means).square().sum()
