"""The two sides of the speed comparison: what each does for each part."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import SGD

from benchmarks import literal
from benchmarks.problem import Part, Speed, make
from condense.augment import Omega, draw
from condense.condensed_set import CondensedSet
from condense.evaluation import evaluate
from condense.matching import Gradients, distance_gradient, stacked_class_gradients
from condense.methods.gradient_matching import Matcher
from condense.methods.images import real_images
from condense.networks import initialise
from condense.parallel import map_pieces, worker_threads
from condense.seeds import generator


class Side:
    """Computes parts of Algorithm 1; a subclass has a method for each of them.

    Each takes the number of the round, which says what is drawn, and gives what it computed.
    """

    def __init__(self, settings: Speed) -> None:
        self.settings = settings
        self.data, self.images, self.labels = make(settings)
        self.flat = self.images.flatten(0, 1)

    def run(self, part: Part, number: int) -> list[Tensor]:
        """Compute a part."""
        found: list[Tensor] = getattr(self, part.replace(" ", "_"))(number)
        return found


class Plain(Side):
    """Each part as `benchmarks.literal` has it."""

    def __init__(self, settings: Speed) -> None:
        super().__init__(settings)
        self.matching = settings.matching()
        self.strategy = literal.strategy_of(self.matching, self.data)
        self.real = literal.sample(self.data, settings.real_batch, generator(0, "real"))
        self.network = self._fresh()
        self.targets = [
            literal.gradient(self.network, few[:8], label) for label, few in enumerate(self.real)
        ]

    def real_side(self, _: int) -> list[Tensor]:
        """The gradients of the real images of every class."""
        gradients = [
            literal.gradient(self.network, batch, label) for label, batch in enumerate(self.real)
        ]
        return [torch.stack(rows) for rows in zip(*gradients, strict=True)]

    def synthetic_side(self, _: int) -> list[Tensor]:
        """The gradient of D with respect to the synthetic images, for gradients to match."""
        moved = self._to_move()
        for label, target in enumerate(self.targets):
            gradient = literal.gradient(self.network, moved[label], label, graph=True)
            literal.distance(gradient, target).backward(inputs=[moved])
        return _gradient(moved)

    def class_sweep(self, number: int) -> list[Tensor]:
        """Both, from the drawing of real images on."""
        moved, draws = self._to_move(), generator(number, "sweep")
        literal.class_sweep(self.network, moved, self.data, self.matching, draws)
        return _gradient(moved)

    def siamese_augmentation(self, number: int) -> list[Tensor]:
        """Every operation on both sides of one class."""
        draws, out = generator(number, "siamese"), []
        for name in self.strategy:
            ((_, rows),) = literal.draw((name,), draws, 1, 1)
            out += [literal.augment(x, name, rows) for x in (self.real[0], self.images[0])]
        return out

    def independent_augmentation(self, number: int) -> list[Tensor]:
        """Every operation on all synthetic images."""
        draws = generator(number, "independent")
        drawn = [literal.draw((name,), draws, 1, len(self.flat))[0] for name in self.strategy]
        return [literal.augment(self.flat, name, rows) for name, rows in drawn]

    def inner_loop(self, number: int) -> list[Tensor]:
        """Epochs of the network on the synthetic images."""
        learner = self._fresh()
        literal.train(
            learner,
            self.flat,
            self.labels,
            SGD(learner.parameters(), self.matching.network_lr),
            self.settings.updates,
            self.matching.network_batch,
            generator(number, "inner"),
            self.strategy,
        )
        return list(learner.parameters())

    def evaluation(self, number: int) -> list[Tensor]:
        """Fresh networks trained on the synthetic images and tested."""
        settings = self.settings.evaluation()
        found = literal.evaluate(self.flat, self.labels, self.data, settings, number)
        return [torch.tensor(found)]

    def outer_iteration(self, number: int) -> list[Tensor]:
        """One network from its beginning to its end."""
        moved, settings = self._to_move(), self.matching
        optimizer = SGD([moved], settings.image_lr, momentum=settings.image_momentum)
        literal.outer_iteration(self.data, settings, moved, optimizer, 0, number)
        return [moved.detach()]

    def _fresh(self) -> nn.Module:
        draws = generator(0, "network")
        network = self.matching.network
        fresh = literal.network_of(network, self.data.shape, self.data.classes, draws)
        return fresh.to(self.data.device)

    def _to_move(self) -> Tensor:
        return self.images.clone().requires_grad_()


class Engine(Side):
    """Each part as `condense` has it."""

    def __init__(self, settings: Speed) -> None:
        super().__init__(settings)
        self.whole = Matcher(self.data, settings.matching(), seed=0)
        short = settings.matching(network_epochs=settings.updates)
        self.matcher = Matcher(self.data, short, seed=0)
        self.condensed = CondensedSet.from_normalised(self.flat, self.labels, self.data)
        self.real = real_images(self.data, settings.real_batch, generator(0, "real"))
        self.targets = self._gradients([batch[:8] for batch in self.real])

    def run(self, part: Part, number: int) -> list[Tensor]:
        """As above, on threads as in a condensation."""
        with worker_threads(self.data.device):
            return super().run(part, number)

    def real_side(self, _: int) -> list[Tensor]:
        """As above."""
        network, matcher = self._fixed(), self.matcher

        def gradients(group: slice) -> Gradients:
            batches, classes = self.real[group], matcher.classes[group]
            return stacked_class_gradients(
                network, batches, classes, matcher.matched, matcher.chunk
            )

        found = list(map_pieces(gradients, matcher.groups))
        return [torch.cat([part[name] for part in found]) for name in found[0]]

    def synthetic_side(self, _: int) -> list[Tensor]:
        """As above."""
        network, matcher = self._fixed(), self.matcher

        def gradient(group: slice) -> Tensor:
            return distance_gradient(
                network,
                self.images[group],
                matcher.classes[group],
                {name: target[group] for name, target in self.targets.items()},
                matcher.distance,
                matcher.piece,
            )[0]

        return [torch.cat(list(map_pieces(gradient, matcher.groups)))]

    def class_sweep(self, number: int) -> list[Tensor]:
        """As above."""
        self._fixed()
        return [self.matcher.match(self.images, generator(number, "sweep"))[0]]

    def siamese_augmentation(self, number: int) -> list[Tensor]:
        """As above."""
        drawn = self._omegas(generator(number, "siamese"), 1)
        return [
            side for one in drawn for x in (self.real[0], self.images[0]) for side in one.apply([x])
        ]

    def independent_augmentation(self, number: int) -> list[Tensor]:
        """As above."""
        drawn = self._omegas(generator(number, "independent"), len(self.flat))
        return [one.apply([self.flat])[0] for one in drawn]

    def inner_loop(self, number: int) -> list[Tensor]:
        """As above."""
        learner = self._fixed()
        self.matcher.train_network(self.images, generator(number, "inner"))
        return list(learner.parameters())

    def evaluation(self, number: int) -> list[Tensor]:
        """As above."""
        found = evaluate(self.condensed, self.data, self.settings.evaluation(), seed=number)
        return [torch.tensor(found.values)]

    def outer_iteration(self, number: int) -> list[Tensor]:
        """As above."""
        moved = self.images.clone()
        self.whole.outer_iteration(moved, torch.zeros_like(moved), number)
        return [moved]

    def _fixed(self) -> nn.Module:
        initialise(self.matcher.network, generator(0, "network"))
        return self.matcher.network

    def _gradients(self, batches: list[Tensor]) -> Gradients:
        matcher = self.matcher
        return stacked_class_gradients(
            self._fixed(), batches, matcher.classes, matcher.matched, matcher.chunk
        )

    def _omegas(self, draws: torch.Generator, rows: int) -> list[Omega]:
        return [draw((name,), draws, images=rows) for name in self.matcher.strategy]


def _gradient(images: Tensor) -> list[Tensor]:
    assert images.grad is not None
    return [images.grad]
