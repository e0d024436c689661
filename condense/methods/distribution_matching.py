"""Dataset condensation with distribution matching: DM (Zhao & Bilen 2023, Algorithm 1).

The images of a set are moved so that their mean embedding is that of the real images of their
class, over many networks with random weights. No network is trained, so a step is a cheap one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from condense.augment import check_strategy, default_strategy, draw
from condense.condensed_set import CondensedSet
from condense.data import ImageData
from condense.footprint import forward_piece, groups, training_piece
from condense.journal import Journal
from condense.methods.coresets import require_images
from condense.methods.images import augmented, match_images, real_rows
from condense.networks import Classifier, build, initialise
from condense.parallel import map_pieces, worker_threads
from condense.seeds import generator
from condense.settings import DistributionMatching
from condense.training import CHUNK, in_chunks


def condense_by_distribution_matching(
    data: ImageData, settings: DistributionMatching, seed: int, journal: Journal
) -> CondensedSet:
    """A set of `settings.ipc` synthetic images per class.

    Args:
        data: the training set 𝒯; its device is the one that is computed on.
        settings: the number of steps, rates and augmentation.
        seed: the k-th iteration draws from a stream of its own, made of the seed and k.
        journal: told of every iteration; an interrupted run goes on from it.

    Raises:
        UserError: for a setting that makes no sense, or a class with too few images.
    """
    require_images(data, settings.ipc)
    strategy = settings.strategy or default_strategy(data.mirror)
    check_strategy(strategy)
    network = build(settings.network, data.shape, data.classes).to(data.device)
    piece = training_piece(network, data.shape, data.device)

    def step(images: Tensor, velocity: Tensor, k: int) -> float:
        draws = generator(seed, "iteration", k)
        gradient, distance = match(network, images, data, settings, strategy, draws, piece)
        velocity.mul_(settings.image_momentum).add_(gradient)
        images.sub_(velocity, alpha=settings.image_lr)
        return float(distance)

    with worker_threads(data.device):
        return match_images(data, settings, seed, journal, settings.iterations, step)


def match(
    network: Classifier,
    images: Tensor,
    data: ImageData,
    settings: DistributionMatching,
    strategy: tuple[str, ...],
    draws: torch.Generator,
    piece: int | None,
) -> tuple[Tensor, Tensor]:
    """The gradient with respect to `images` of the embeddings' distance, and its value.

    Args:
        network: its weights are drawn anew.
        images: [classes, ipc, c, h, w], normalised.
        data: what they are compared with.
        settings: the real batch, and whether to augment.
        strategy: the operations of which one is drawn for each class.
        draws: for weights, real images and augmentation, in this order.
        piece: images that should go through the network at once, at most, though the synthetic
            ones of a class always do; None for all, as with batch norm: the real images of all
            classes have statistics of their own, and so have the synthetic ones.
    """
    initialise(network, draws)
    network.train()
    rows = real_rows(data, settings.real_batch, draws)
    omega = draw(strategy, draws, groups=data.classes) if settings.augment == "siamese" else None
    classes = data.classes if piece is None else max(1, piece // settings.ipc)

    def match_classes(group: slice) -> tuple[Tensor, Tensor]:
        part = images[group].detach().requires_grad_()
        drawn = omega[group] if omega else None
        distance = embedding_distance(
            network.features,
            augmented(data, rows[group], drawn),
            torch.stack(drawn.apply(part)) if drawn else part,
            None if piece is None else forward_piece(piece),
        )
        return torch.autograd.grad(distance, part)[0], distance.detach()

    gradients, distances = zip(
        *map_pieces(match_classes, groups(data.classes, classes)), strict=True
    )
    return torch.cat(gradients), torch.stack(distances).sum()


def embedding_distance(
    embed: Callable[[Tensor], Tensor],
    real: Iterable[Tensor],
    synthetic: Tensor,
    chunk: int | None = CHUNK,
) -> Tensor:
    """Σ_c ‖mean of embed(real images of c) − mean of embed(synthetic images of c)‖².

    Args:
        embed: [n, c, h, w] -> [n, d].
        real: for each class [n_class, c, h, w]; the numbers of images may differ.
        synthetic: [classes, ipc, c, h, w]; the distance can be differentiated in these alone.
        chunk: real images of a class that are embedded at once; None: those of all classes.
    """
    if chunk is None:
        batches = list(real)
        sizes = [len(images) for images in batches]
        embedded = in_chunks(embed, torch.cat(batches), sum(sizes)).split(sizes)
    else:
        embedded = tuple(in_chunks(embed, images, chunk) for images in real)
    target = torch.stack([vectors.mean(0) for vectors in embedded])
    classes, ipc = synthetic.shape[:2]
    means = embed(synthetic.flatten(0, 1)).view(classes, ipc, -1).mean(1)
    return (target - means).square().sum()
