"""One architecture: its networks trained on a proxy and tested on real images."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from optuna.exceptions import OptunaError
from torch import nn

from condense import (
    ImageData,
    Schedule,
    UserError,
    blueprint,
    build,
    default_strategy,
    generator,
    test_accuracy,
    train,
)
from nas.proxies import Proxy
from nas.settings import Training
from nas.space import Space

Watch = Callable[[int, float], bool]
"""(updates done, test accuracy) -> whether to stop here."""

RUNGS = (8, 4, 2)
"""The training curve is looked at after an eighth, a quarter and half of the updates."""


@dataclass(frozen=True)
class Outcome:
    """What came of one architecture; `score` is what it is ranked by."""

    parameters: int
    score: float | None = None
    """Its test accuracy, averaged over networks; None where it has none. Where nothing is trained,
    the number of parameters."""
    updates: int = 0
    """Of all its networks together."""
    seconds: float = 0.0
    pruned: bool = False
    reason: str | None = None
    """Why there is no score: it diverged, ran out of memory, or cannot be built."""


class _StopHereError(Exception):
    """The training curve is not worth following further."""


def assess(
    space: Space,
    index: int,
    proxy: Proxy,
    data: ImageData,
    training: Training,
    seed: int,
    watch: Watch | None = None,
) -> Outcome:
    """Train architecture `index` of `space` on `proxy` and test it on the test split of `data`.

    What is wrong with the architecture is no error but its outcome's `reason`.

    Args:
        space: the architectures.
        index: of the one.
        proxy: what it is trained on.
        data: gives the test images; its device is the one that is computed on.
        training: how.
        seed: weights, order and augmentation follow from it, the proxy's kind, the architecture's
            name and the network's number.
        watch: told of the first network's test accuracy at `RUNGS`; may stop it.

    Raises:
        OptunaError: from `watch`, where the storage cannot be reached.
        torch.AcceleratorError: the device is of no more use in this process.
    """
    began = time.perf_counter()
    parameters = 0
    updates = [0]
    accuracies: list[float] = []
    pruned, reason = False, None
    try:
        parameters = count_parameters(space, index, data)
        if proxy.images is None:
            return Outcome(parameters, float(parameters))
        for number in range(training.networks):
            draws = generator(seed, proxy.draws, space.names[index], number)
            network = make_network(space, index, data, draws)
            _train(network, proxy, data, training, draws, updates, watch if not number else None)
            _require_finite(network)
            accuracies.append(test_accuracy(network, data))
    except _StopHereError:
        pruned = True
    except (OptunaError, torch.AcceleratorError):
        raise  # the storage, or the whole device, is at fault
    except Exception as error:  # a network of the user's own may raise anything
        reason = _in_words(error)
        if data.device.type == "cuda":
            torch.cuda.empty_cache()
    complete = not pruned and reason is None
    score = sum(accuracies) / len(accuracies) if complete else None
    seconds = time.perf_counter() - began
    return Outcome(parameters, score, updates[0], seconds, pruned, reason)


def count_parameters(space: Space, index: int, data: ImageData) -> int:
    """The number of weights; the networks of `condense` need no memory for being counted."""
    value = space.architectures[index]
    made_by = space.build or blueprint
    network = made_by(value, data.shape, data.classes)
    return sum(parameter.numel() for parameter in network.parameters())


def make_network(space: Space, index: int, data: ImageData, draws: torch.Generator) -> nn.Module:
    """A network of this architecture on the device of `data`, its weights drawn from `draws`."""
    # A function of the user's own draws as it likes, which is from torch's global stream.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (), generator=draws)))
        value = space.architectures[index]
        if space.build is not None:
            network = space.build(value, data.shape, data.classes)
        else:
            network = build(value, data.shape, data.classes, draws)
    return network.to(data.device)


def with_test_images(data: ImageData, count: int | None) -> ImageData:
    """`data` with so many of its test images, the same in every run; all where None."""
    if count is None or count >= len(data.x_test):
        return data
    rows = torch.randperm(len(data.x_test), generator=generator(0, "test images"))[:count]
    rows = rows.to(data.device)
    return dataclasses.replace(data, x_test=data.x_test[rows], y_test=data.y_test[rows])


def schedule_of(training: Training, images: int) -> Schedule:
    """The schedule of `training` for so many images."""
    rest: dict[str, Any] = {
        "lr": training.lr,
        "momentum": training.momentum,
        "weight_decay": training.weight_decay,
        "drops": (0.5,),
    }
    if training.updates is not None:
        return Schedule(training.updates, training.batch, **rest)
    return Schedule.of_epochs(training.epochs, images, training.batch, **rest)


def _train(
    network: nn.Module,
    proxy: Proxy,
    data: ImageData,
    training: Training,
    draws: torch.Generator,
    updates: list[int],
    watch: Watch | None,
) -> None:
    assert proxy.images is not None
    assert proxy.labels is not None
    schedule = schedule_of(training, len(proxy.images))
    rungs = {max(1, schedule.updates // rung) for rung in RUNGS} if watch else set()

    def look(done: int) -> None:
        if done in rungs and watch is not None:
            accuracy = test_accuracy(network, data)
            network.train()
            if watch(done, accuracy):
                raise _StopHereError
        updates[0] += 1

    train(
        network,
        proxy.images,
        proxy.labels,
        schedule,
        draws,
        strategy=default_strategy(data.mirror) if training.augment else (),
        prepare=proxy.prepare,
        before_update=look,
    )


def _require_finite(network: nn.Module) -> None:
    for tensor in network.state_dict().values():
        if not bool(tensor.isfinite().all()):
            raise UserError("diverged: its weights are not finite")


def _in_words(error: BaseException) -> str:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in line:
        return f"out of memory: {line}"
    foreseen = isinstance(error, UserError | RuntimeError)
    return line if foreseen else f"{type(error).__name__}: {line}"
