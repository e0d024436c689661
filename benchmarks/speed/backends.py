"""The two backends of the speed comparison, with a method for each part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import TensorDataset

from benchmarks.speed import reference
from benchmarks.speed.problem import PartName, Speed, make
from condense.augment.params import AugmentParams, sample_params
from condense.condensed_set import CondensedSet
from condense.evaluation import evaluate
from condense.gradients.distances import Gradients
from condense.gradients.per_class import distance_gradient, stacked_class_gradients
from condense.methods.gradient_matching import Matcher
from condense.methods.real_batches import augmented, real_rows
from condense.models.build import initialise
from condense.seeds import generator
from condense.training.threads import map_chunks, worker_threads


class Backend:
    """Computes parts of Algorithm 1; a subclass has a method for each part.

    Each method takes the number of the round, which seeds the random draws, and returns its
    results.
    """

    def __init__(self, settings: Speed) -> None:
        self.settings = settings
        self.data, self.images, self.labels = make(settings)
        self.flat = self.images.flatten(0, 1)

    def run(self, part: PartName, number: int) -> list[Tensor]:
        """Compute a part."""
        found: list[Tensor] = getattr(self, part.replace(" ", "_"))(number)
        return found


class Reference(Backend):
    """Each part computed by `benchmarks.speed.reference`."""

    def __init__(self, settings: Speed) -> None:
        super().__init__(settings)
        self.matching = settings.matching()
        self.strategy = reference.strategy_of(self.matching, self.data)
        self.real = reference.sample(self.data, settings.batch_real, generator(0, "real"))
        self.network = self._fresh()
        self.targets = [
            reference.gradient(self.network, few[:8], label) for label, few in enumerate(self.real)
        ]

    def real_gradients(self, _: int) -> list[Tensor]:
        """The gradients of the real images of every class."""
        gradients = [
            reference.gradient(self.network, batch, label) for label, batch in enumerate(self.real)
        ]
        return [torch.stack(rows) for rows in zip(*gradients, strict=True)]

    def synthetic_gradients(self, _: int) -> list[Tensor]:
        """The gradient of D with respect to the synthetic images, for fixed target gradients."""
        moved = self._to_move()
        for label, target in enumerate(self.targets):
            gradient = reference.gradient(self.network, moved[label], label, graph=True)
            reference.distance(gradient, target).backward(inputs=[moved])
        return _gradient(moved)

    def class_sweep(self, number: int) -> list[Tensor]:
        """Both gradients for all classes, including the draw of real images."""
        moved, draws = self._to_move(), generator(number, "sweep")
        reference.class_sweep(self.network, moved, self.data, self.matching, draws)
        return _gradient(moved)

    def siamese_augmentation(self, number: int) -> list[Tensor]:
        """Every operation on the real and synthetic images of one class, with shared parameters."""
        draws, out = generator(number, "siamese"), []
        for name in self.strategy:
            ((_, rows),) = reference.sample_params((name,), draws, 1, 1)
            out += [reference.augment(x, name, rows) for x in (self.real[0], self.images[0])]
        return out

    def independent_augmentation(self, number: int) -> list[Tensor]:
        """Every operation on all synthetic images, with parameters per image."""
        draws = generator(number, "independent")
        count = len(self.flat)
        drawn = [reference.sample_params((name,), draws, 1, count)[0] for name in self.strategy]
        return [reference.augment(self.flat, name, rows) for name, rows in drawn]

    def inner_loop(self, number: int) -> list[Tensor]:
        """Train the network for some epochs on the synthetic images."""
        network, draws = self._fresh(), generator(number, "inner")
        reference.train(
            network,
            TensorDataset(self.flat, self.labels),
            SGD(network.parameters(), self.matching.lr_net),
            self.settings.inner_loop,
            self.matching.batch_train,
            draws,
            reference.transform_of(self.strategy, draws),
        )
        return list(network.parameters())

    def evaluation(self, number: int) -> list[Tensor]:
        """Train new networks on the synthetic images and test them."""
        settings = self.settings.evaluation()
        found = reference.evaluate(self.flat, self.labels, self.data, settings, number)
        return [torch.tensor(found)]

    def outer_iteration(self, number: int) -> list[Tensor]:
        """One outer iteration of the paper's length."""
        moved, settings = self._to_move(), self.matching
        optimizer = SGD([moved], settings.lr_img, momentum=settings.mom_img)
        reference.outer_iteration(self.data, settings, moved, optimizer, 0, number)
        return [moved.detach()]

    def _fresh(self) -> nn.Module:
        draws = generator(0, "network")
        network = self.matching.network
        fresh = reference.network_of(network, self.data.shape, self.data.classes, draws)
        return fresh.to(self.data.device)

    def _to_move(self) -> Tensor:
        return self.images.clone().requires_grad_()


class Engine(Backend):
    """Each part computed by `condense`."""

    def __init__(self, settings: Speed) -> None:
        super().__init__(settings)
        self.whole = Matcher(self.data, settings.matching(), seed=0)
        short = settings.matching(inner_loop=settings.inner_loop)
        self.matcher = Matcher(self.data, short, seed=0)
        self.condensed = CondensedSet.from_normalised(self.flat, self.labels, self.data)
        rows = real_rows(self.data, settings.batch_real, generator(0, "real"))
        self.real = list(augmented(self.data, rows))
        self.targets = self._gradients([batch[:8] for batch in self.real])

    def run(self, part: PartName, number: int) -> list[Tensor]:
        """Compute a part on worker threads, as in a condensation."""
        with worker_threads(self.data.device):
            return super().run(part, number)

    def real_gradients(self, _: int) -> list[Tensor]:
        """As in `Reference`."""
        network, matcher = self._fixed(), self.matcher

        def gradients(chunk: slice) -> Gradients:
            batches, classes = self.real[chunk], matcher.classes[chunk]
            return stacked_class_gradients(
                network, batches, classes, matcher.matched, matcher.chunk_size
            )

        found = list(map_chunks(gradients, matcher.class_chunks))
        return [torch.cat([part[name] for part in found]) for name in found[0]]

    def synthetic_gradients(self, _: int) -> list[Tensor]:
        """As in `Reference`."""
        network, matcher = self._fixed(), self.matcher

        def gradient(chunk: slice) -> Tensor:
            return distance_gradient(
                network,
                self.images[chunk],
                matcher.classes[chunk],
                {name: target[chunk] for name, target in self.targets.items()},
                matcher.distance,
                matcher.max_images,
            )[0]

        return [torch.cat(list(map_chunks(gradient, matcher.class_chunks)))]

    def class_sweep(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        self._fixed()
        return [self.matcher.match(self.images, generator(number, "sweep"))[0]]

    def siamese_augmentation(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        drawn = self._omegas(generator(number, "siamese"), 1)
        return [
            image
            for one in drawn
            for x in (self.real[0], self.images[0])
            for image in one.apply([x])
        ]

    def independent_augmentation(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        drawn = self._omegas(generator(number, "independent"), len(self.flat))
        return [one.apply([self.flat])[0] for one in drawn]

    def inner_loop(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        network = self._fixed()
        self.matcher.train_network(self.images, generator(number, "inner"))
        return list(network.parameters())

    def evaluation(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        found = evaluate(self.condensed, self.data, self.settings.evaluation(), seed=number)
        return [torch.tensor(found.values)]

    def outer_iteration(self, number: int) -> list[Tensor]:
        """As in `Reference`."""
        synthetic = self.whole.synthetic(self.images)
        self.whole.outer_iteration(synthetic, number)
        return [synthetic.images()]

    def _fixed(self) -> nn.Module:
        initialise(self.matcher.network, generator(0, "network"))
        return self.matcher.network

    def _gradients(self, batches: list[Tensor]) -> Gradients:
        matcher = self.matcher
        return stacked_class_gradients(
            self._fixed(), batches, matcher.classes, matcher.matched, matcher.chunk_size
        )

    def _omegas(self, draws: torch.Generator, rows: int) -> list[AugmentParams]:
        return [sample_params((name,), draws, images=rows) for name in self.matcher.strategy]


def _gradient(images: Tensor) -> list[Tensor]:
    assert images.grad is not None
    return [images.grad]
