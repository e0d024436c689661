"""The two sides of the speed comparison: what each does for each part, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from condense.settings import Evaluation, GradientMatching, Network

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.floor import Floor
    from condense.data import ImageData

SIDES = ("literal", "engine")
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
Parts = dict[str, Callable[[int], "list[Tensor]"]]
"""What a side does for each part; takes the number of the round, which says what is drawn."""


@dataclass(frozen=True)
class Speed:
    """Measure the engine against the literal version."""

    device: str = "cpu"
    threads: int = len(os.sched_getaffinity(0))
    minutes: float = 10.0
    """No round is begun after this time; the first one is always finished."""
    parts: tuple[Part, ...] = get_args(Part)[:-1]
    """What to measure. An outer iteration of the paper's length takes minutes on a CPU; where it
    is not measured, it is added up from class sweeps and the inner loop."""
    width: int = 128
    depth: int = 3
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
        return (
            f"ConvNet d{self.depth}-w{self.width}, {self.channels}×{self.size}×{self.size}, "
            f"{self.classes} classes, {self.ipc} per class, {self.real_batch} real"
        )

    @property
    def tested(self) -> int:
        """Test images: the paper's 10,000, fewer as the evaluation is shorter than the paper's."""
        return max(self.classes, 10_000 * self.epochs // PAPER_EPOCHS)

    def matching(self, **changes: Any) -> GradientMatching:
        """The settings of an outer iteration."""
        network = Network(width=self.width, depth=self.depth)
        return GradientMatching(self.ipc, network, real_batch=self.real_batch, **changes)

    def evaluation(self) -> Evaluation:
        """The settings of an evaluation."""
        network = Network(width=self.width, depth=self.depth)
        return Evaluation(networks=self.networks, epochs=self.epochs, network=network)


def problem(settings: Speed) -> tuple[ImageData, Tensor, Tensor]:
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


def literal_parts(settings: Speed) -> Parts:
    """Each part, plainly."""
    import torch
    from torch.optim import SGD

    from benchmarks import literal
    from condense.seeds import generator

    data, images, labels = problem(settings)
    matching, evaluation = settings.matching(), settings.evaluation()
    strategy = literal.strategy_of(matching, data)
    real = literal.sample(data, settings.real_batch, generator(0, "real"))

    def network() -> torch.nn.Module:
        draws = generator(0, "network")
        fresh = literal.network_of(matching.network, data.shape, data.classes, draws)
        return fresh.to(data.device)

    fixed = network()
    targets = [literal.gradient(fixed, few[:8], label) for label, few in enumerate(real)]

    def real_side(_: int) -> list[Tensor]:
        gradients = [literal.gradient(fixed, batch, label) for label, batch in enumerate(real)]
        return [torch.stack(rows) for rows in zip(*gradients, strict=True)]

    def synthetic_side(_: int) -> list[Tensor]:
        moved = images.clone().requires_grad_()
        for label, target in enumerate(targets):
            gradient = literal.gradient(fixed, moved[label], label, graph=True)
            literal.distance(gradient, target).backward(inputs=[moved])
        return _gradient(moved)

    def class_sweep(number: int) -> list[Tensor]:
        moved = images.clone().requires_grad_()
        literal.class_sweep(fixed, moved, data, matching, generator(number, "sweep"))
        return _gradient(moved)

    def siamese(number: int) -> list[Tensor]:
        draws, out = generator(number, "siamese"), []
        for name in strategy:
            ((_, rows),) = literal.draw((name,), draws, 1, 1)
            out += [literal.augment(batch, name, rows) for batch in (real[0], images[0])]
        return out

    def independent(number: int) -> list[Tensor]:
        draws, flat = generator(number, "independent"), images.flatten(0, 1)
        drawn = [literal.draw((name,), draws, 1, len(flat))[0] for name in strategy]
        return [literal.augment(flat, name, rows) for name, rows in drawn]

    def inner_loop(number: int) -> list[Tensor]:
        learner = network()
        literal.train(
            learner,
            images.flatten(0, 1),
            labels,
            SGD(learner.parameters(), matching.network_lr),
            settings.updates,
            matching.network_batch,
            generator(number, "inner"),
            strategy,
        )
        return list(learner.parameters())

    def evaluate(number: int) -> list[Tensor]:
        flat = images.flatten(0, 1)
        return [torch.tensor(literal.evaluate(flat, labels, data, evaluation, number))]

    def outer_iteration(number: int) -> list[Tensor]:
        moved = images.clone().requires_grad_()
        optimizer = SGD([moved], matching.image_lr, momentum=matching.image_momentum)
        literal.outer_iteration(data, matching, moved, optimizer, 0, number)
        return [moved.detach()]

    return _named(
        real_side,
        synthetic_side,
        class_sweep,
        siamese,
        independent,
        inner_loop,
        evaluate,
        outer_iteration,
    )


def engine_parts(settings: Speed) -> Parts:
    """Each part, by the engine."""
    import torch

    from condense.augment import Omega, draw
    from condense.condensed_set import CondensedSet
    from condense.evaluation import evaluate as evaluate_set
    from condense.matching import class_gradients, stacked_class_gradients
    from condense.methods.gradient_matching import Matcher
    from condense.networks import initialise
    from condense.seeds import generator

    data, images, labels = problem(settings)
    evaluation = settings.evaluation()
    whole = Matcher(data, settings.matching(), seed=0)
    matcher = Matcher(data, settings.matching(network_epochs=settings.updates), seed=0)
    condensed = CondensedSet.from_normalised(images.flatten(0, 1), labels, data)
    draws = generator(0, "real")
    chosen = [
        rows[torch.randperm(len(rows), generator=draws)] for rows in data.train_indices_by_class()
    ]
    real = [data.normalise(data.x_train[rows[: settings.real_batch]]) for rows in chosen]

    def fixed() -> torch.nn.Module:
        initialise(matcher.network, generator(0, "network"))
        return matcher.network

    def real_gradients(batches: list[Tensor]) -> dict[str, Tensor]:
        return stacked_class_gradients(fixed(), batches, matcher.classes, matcher.chunk)

    targets = real_gradients([batch[:8] for batch in real])

    def real_side(_: int) -> list[Tensor]:
        return list(real_gradients(real).values())

    def synthetic_side(_: int) -> list[Tensor]:
        moved = images.clone().requires_grad_()
        gradients = class_gradients(fixed(), moved, matcher.classes)
        return list(torch.autograd.grad(matcher.distance(gradients, targets).sum(), moved))

    def class_sweep(number: int) -> list[Tensor]:
        fixed()
        return [matcher.match(images, generator(number, "sweep"))[0]]

    def omegas(draws: torch.Generator, rows: int) -> list[Omega]:
        return [draw((name,), draws, images=rows) for name in matcher.strategy]

    def siamese(number: int) -> list[Tensor]:
        drawn = omegas(generator(number, "siamese"), 1)
        sides = (real[0], images[0])
        return [side for one in drawn for batch in sides for side in one.apply([batch])]

    def independent(number: int) -> list[Tensor]:
        drawn = omegas(generator(number, "independent"), len(matcher.labels))
        return [one.apply([images.flatten(0, 1)])[0] for one in drawn]

    def inner_loop(number: int) -> list[Tensor]:
        learner = fixed()
        matcher.train_network(images, generator(number, "inner"))
        return list(learner.parameters())

    def evaluate(number: int) -> list[Tensor]:
        return [torch.tensor(evaluate_set(condensed, data, evaluation, seed=number).values)]

    def outer_iteration(number: int) -> list[Tensor]:
        moved = images.clone()
        whole.outer_iteration(moved, torch.zeros_like(moved), number)
        return [moved]

    return _named(
        real_side,
        synthetic_side,
        class_sweep,
        siamese,
        independent,
        inner_loop,
        evaluate,
        outer_iteration,
    )


def _named(*functions: Callable[[int], list[Tensor]]) -> Parts:
    return dict(zip(get_args(Part), functions, strict=True))


def _gradient(images: Tensor) -> list[Tensor]:
    assert images.grad is not None
    return [images.grad]


_parts: Parts = {}
"""Of the side whose process this is."""


def worker(side: str, settings: Speed) -> ProcessPoolExecutor:
    """A process of its own for one side."""
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, spawn, _prepare, (side, settings))


def _prepare(side: str, settings: Speed) -> None:
    if side == "engine":
        from condense.allocator import keep_freed_memory

        keep_freed_memory()
    import torch

    torch.set_num_threads(settings.threads)
    _parts.update((engine_parts if side == "engine" else literal_parts)(settings))


def run(part: str, number: int, device: str) -> tuple[float, float]:
    """Seconds that a part takes, and the norm of what it computes, by which sides are compared."""
    import torch

    from benchmarks.floor import synchronise

    synchronise(torch.device(device))
    started = time.perf_counter()
    result = _parts[part](number)
    synchronise(torch.device(device))
    seconds = time.perf_counter() - started
    return seconds, sum(float(x.detach().double().square().sum()) for x in result) ** 0.5


def floor_of(settings: Speed) -> Floor:
    """The floor of the network that is measured."""
    from benchmarks.floor import measure
    from condense.networks import build
    from condense.seeds import generator

    shape = (settings.channels, settings.size, settings.size)
    network = build(settings.matching().network, shape, settings.classes, generator(0))
    return measure(network.to(settings.device), shape, settings.real_batch)
