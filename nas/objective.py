"""Train the networks of one architecture on a proxy and test them on real images."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from condense import (
    ImageData,
    Schedule,
    UserError,
    augment_batch,
    build,
    default_strategy,
    generator,
    test_accuracy,
    train,
)
from condense.errors import bounded
from condense.seeds import derive
from condense.training.loop import Step, all_finite, evaluation_mode
from condense.validation import require_class
from nas.proxies import Proxy
from nas.settings import Training
from nas.space import Space

Watch = Callable[[int, float], bool]
"""(steps done, test accuracy) -> whether to stop."""

RUNGS = (8, 4, 2)
"""The pruner is called after an eighth, a quarter and half of the steps."""


@dataclass(frozen=True)
class TrialResult:
    """The result of one architecture; architectures are ranked by `score`."""

    parameters: int
    score: float | None = None
    """Test accuracy, averaged over networks; None if there is none. The number of parameters if
    nothing is trained."""
    steps: int = 0
    """Training steps of all its networks together."""
    seconds: float = 0.0
    pruned: bool = False
    reason: str | None = None
    """Why there is no score: training diverged, out of memory, the network cannot be built or has
    too few outputs, or the device failed."""


class SharedWeightsError(UserError):
    """`build` returned weights that it had returned before: no fault of one architecture."""


class _StopHereError(Exception):
    """The trial is pruned."""


class _WatchError(Exception):
    """`watch` failed, with `error`: no fault of the architecture."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def train_architecture(
    space: Space,
    index: int,
    proxy: Proxy,
    data: ImageData,
    training: Training,
    seed: int,
    watch: Watch | None = None,
) -> TrialResult:
    """Train architecture `index` of `space` on `proxy` and test it on the test split of `data`.

    Errors of the architecture are stored in the result's `reason`; those of `watch` are raised.

    Args:
        space: the architectures.
        index: of the architecture.
        proxy: the training set.
        data: contains the test images; its device is used.
        training: the training settings.
        seed: with the kind of proxy, the architecture's name and the network's number, determines
            weights, order and augmentation.
        watch: called with the first network's test accuracy at `RUNGS`; may stop the training.

    Raises:
        UserError: `training` is of another class or has no networks, or `build` reuses a network.
        torch.AcceleratorError: the device cannot be used in this process any more.
    """
    _check(training)
    import_optimizers()
    data = with_test_images(data, training.test_images)
    began = time.perf_counter()
    parameters, steps = 0, [0]
    accuracies: list[float] = []
    pruned, reason = False, None
    try:
        counted = network_to_count(space, index, data)
        parameters = _size(counted)
        if proxy.images is None:
            return TrialResult(parameters, float(parameters))
        for number in range(training.networks):
            stream = (proxy.draws, space.names[index], number)
            draws = generator(seed, *stream)
            network = make_network(space, index, data, draws, counted)
            # Networks of a user-defined function may draw while they are trained, as dropout does.
            with global_draws(derive(seed, "training", *stream), data.device):
                _train(network, proxy, data, training, draws, steps, watch if not number else None)
                accuracies.append(_tested(network, data))
    except _StopHereError:
        pruned = True
    except _WatchError as failed:
        raise failed.error from failed.error.__cause__
    except (torch.AcceleratorError, SharedWeightsError):
        raise  # caused by the device or by `build`, not by the architecture
    except (Exception, SystemExit) as error:  # a user-defined network may raise anything
        reason = _in_words(error)
        if data.device.type == "cuda":
            torch.cuda.empty_cache()
    complete = not pruned and reason is None
    score = _mean(accuracies, len(data.y_test)) if complete else None
    return TrialResult(parameters, score, steps[0], time.perf_counter() - began, pruned, reason)


def _check(training: Training) -> None:
    require_class("training", training, Training)
    if training.networks < 1:
        raise UserError("networks must be at least 1, to train an architecture")


class _Checked(nn.Module):
    """The network, whose outputs are checked; not by a hook, which TorchScript does not have.

    On a GPU a label without an output would end all use of the device in this process.
    """

    def __init__(self, network: nn.Module, classes: int) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, images: Tensor) -> Tensor:
        """The outputs of the network, [n, classes or more]."""
        outputs: Tensor = self.network(images)
        n, classes = len(images), self.classes
        if not isinstance(outputs, Tensor):
            raise UserError(f"its output is no tensor but of the type {type(outputs).__name__}")
        if outputs.ndim != 2 or len(outputs) != n or outputs.shape[1] < classes:
            shape = list(outputs.shape)
            raise UserError(f"its outputs have the shape {shape}, not [{n}, {classes} or more]")
        return outputs


class _CheckedInTests(_Checked):
    """Its outputs must be numbers too; in training, the weights tell that at the end."""

    def forward(self, images: Tensor) -> Tensor:
        """The outputs of the network, without NaN."""
        outputs = super().forward(images)
        if bool(outputs.isnan().any()):
            raise UserError("its outputs for the test images are NaN")
        return outputs


def _tested(network: nn.Module, data: ImageData) -> float:
    """The test accuracy.

    Raises:
        UserError: an output is NaN, which has no class, or the outputs have another shape.
    """
    return test_accuracy(_CheckedInTests(network, data.classes), data)


@functools.cache
def import_optimizers() -> None:
    """Let PyTorch import what its first optimizer needs: seconds that are neither an architecture's
    nor the proxy's."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


def _mean(accuracies: Sequence[float], images: int) -> float:
    """The mean, computed from the numbers of images, so that equal numbers give equal scores."""
    return sum(round(images * accuracy) for accuracy in accuracies) / (images * len(accuracies))


def count_parameters(space: Space, index: int, data: ImageData) -> int:
    """The number of weights; networks of `condense` are built without memory (meta device)."""
    return _size(network_to_count(space, index, data))


def network_to_count(space: Space, index: int, data: ImageData) -> nn.Module:
    """A network of this architecture, to look at: one of `condense` has no memory (meta device)."""
    with global_draws(0, data.device):
        if space.build is not None:
            return _built(space, index, data)
        return build(space.architectures[index], data.shape, data.classes, device="meta")


def _size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def sizes_of(space: Space, names: Container[str], data: ImageData) -> dict[str, int]:
    """The number of weights by name, of those in `names` that can be built."""
    found = {}
    for index, name in enumerate(space.names):
        if name in names:
            with suppress(
                Exception, SystemExit
            ):  # it will raise again, as the result of the architecture
                found[name] = count_parameters(space, index, data)
    return found


def make_network(
    space: Space,
    index: int,
    data: ImageData,
    draws: torch.Generator,
    earlier: nn.Module | None = None,
) -> nn.Module:
    """A network of this architecture on the device of `data`, its weights drawn from `draws`.

    Raises:
        SharedWeightsError: it has weights of `earlier`, another network of this space.
    """
    # A user-defined function draws from torch's global generator.
    with global_draws(int(torch.randint(2**62, (), generator=draws)), data.device):
        if space.build is not None:
            network = _built(space, index, data)
        else:
            network = build(space.architectures[index], data.shape, data.classes, draws)
    if earlier is not None and _trained_in(network) & _trained_in(earlier):
        raise SharedWeightsError(
            "build must return a new network each time: the weights of "
            f"{space.names[index]} are those of a network that it returned before"
        )
    return network.to(data.device)


def _built(space: Space, index: int, data: ImageData) -> nn.Module:
    """What the space's own `build` returns for this architecture.

    Raises:
        UserError: it is no network.
    """
    assert space.build is not None
    network: object = space.build(space.architectures[index], data.shape, data.classes)
    if not isinstance(network, nn.Module):
        what = "None" if network is None else f"an object of the type {type(network).__name__}"
        raise UserError(
            f"the space's build returned {what} for {space.names[index]}, not a torch.nn.Module"
        )
    return with_shapes(network, data.shape)


def _trained_in(network: nn.Module) -> set[int]:
    """What tells the weights that training changes from those of other networks that exist."""
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    return {weight.data_ptr() or id(weight) for weight in weights}  # without memory, it has no data


def with_shapes(network: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """`network`, whose lazy layers have their weights, which a first forward pass gives them."""
    if any(is_lazy(parameter) for parameter in network.parameters()):
        with torch.no_grad(), evaluation_mode(network):
            network(torch.zeros(2, *shape))
    return network


@contextmanager
def global_draws(seed: int | None, device: torch.device) -> Iterator[None]:
    """Torch's global generators start from `seed`, if there is one, and are restored at the end."""
    # `manual_seed` seeds the generators of all GPUs, of which only the one in use is restored:
    # to read the state of another one would reserve memory on it.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def with_test_images(data: ImageData, count: int | None) -> ImageData:
    """`data` with `count` of its test images, the same in every run; all if None."""
    if count is None or count >= len(data.x_test):
        return data
    rows = torch.randperm(len(data.x_test), generator=generator(0, "test images"))[:count]
    rows = rows.to(data.device)
    return dataclasses.replace(data, x_test=data.x_test[rows], y_test=data.y_test[rows])


def schedule_of(training: Training, images: int) -> Schedule:
    """The schedule of `training` for this number of images."""
    rest: dict[str, Any] = {
        "lr": training.lr,
        "momentum": training.momentum,
        "weight_decay": training.weight_decay,
        "milestones": (0.5,),
    }
    if training.steps is not None:
        return Schedule(training.steps, training.batch_size, **rest)
    return Schedule.of_epochs(training.epochs, images, training.batch_size, **rest)


def _train(
    network: nn.Module,
    proxy: Proxy,
    data: ImageData,
    training: Training,
    draws: torch.Generator,
    steps: list[int],
    watch: Watch | None,
) -> None:
    assert proxy.images is not None
    assert proxy.labels is not None
    schedule = schedule_of(training, len(proxy.images))
    rungs = {max(1, schedule.steps // rung) for rung in RUNGS} if watch else set()

    strategy = default_strategy(data.hflip)

    def transform(images: Tensor) -> Tensor:
        batch = images if proxy.prepare is None else proxy.prepare(images)
        return augment_batch(batch, strategy, draws) if training.augment else batch

    def look(done: int) -> None:
        if done in rungs and watch is not None:
            with global_draws(None, data.device):  # the training goes on as if not watched
                accuracy = _tested(network, data)
            try:
                stop = watch(done, accuracy)
            except Exception as error:
                raise _WatchError(error) from error
            if stop:
                raise _StopHereError
        steps[0] += 1

    train(
        network,
        proxy.images,
        proxy.labels,
        schedule,
        draws,
        transform=transform,
        before_step=look,
        step=Step(_Checked(network, data.classes)),
    )
    if not all_finite(network):
        raise UserError("diverged: its weights are not finite")


def device_failure(error: torch.AcceleratorError) -> str:
    """The reason of a result, where the device could not be used any more."""
    return f"the device failed: {_in_words(error)}"


def _in_words(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    line = bounded(line)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in line:
        return f"out of memory: {line}"
    foreseen = isinstance(error, UserError | RuntimeError)
    return line if foreseen else f"{type(error).__name__}: {line}"
