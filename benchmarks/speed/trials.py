"""Timed and tested condensations: the reference's, and the engine's until it is as good."""

from __future__ import annotations

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.optim import SGD

from benchmarks.speed import reference
from benchmarks.workers import prepare
from condense.condensed_set import CondensedSet
from condense.config.evaluation import Evaluation
from condense.config.methods import GradientMatching
from condense.data.image_data import ImageData
from condense.data.loading import load
from condense.errors import UserError
from condense.evaluation import Accuracy, evaluate
from condense.methods.gradient_matching import Matcher
from condense.methods.initialisation import initial_images
from condense.seeds import generator

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """The data set and the test of its condensed sets."""

    dataset: str
    data_root: Path | None
    held_out: int
    """Training images held out for the test."""
    evaluation: Evaluation
    seed: int

    def data(self) -> ImageData:
        """The data set, with its test split replaced by the held-out training images.

        Raises:
            UserError: the set is not available, or has at most `held_out` training images.
        """
        whole = load(self.dataset, self.data_root)
        count = len(whole.x_train)
        if self.held_out >= count:
            raise UserError(f"{whole.name} has {count} training images: use a smaller --held-out")
        order = torch.randperm(count, generator=generator(0, "held out"))
        aside, rest = order[: self.held_out], order[self.held_out :].sort().values
        few = whole.train_subset(rest)
        return replace(few, x_test=whole.x_train[aside], y_test=whole.y_train[aside])

    def test(self, images: Tensor, data: ImageData) -> Accuracy:
        """The test accuracy with synthetic images [classes, ipc, c, h, w]."""
        labels = torch.arange(data.classes).repeat_interleave(images.shape[1])
        made = CondensedSet.from_normalised(images.detach().flatten(0, 1), labels, data)
        return evaluate(made, data, self.evaluation, seed=self.seed)


@dataclass(frozen=True)
class Trial:
    """A condensation and its test."""

    iterations: int
    """Outer iterations."""
    seconds: float
    """Time of the condensation, without tests."""
    accuracy: Accuracy
    below: float | None = None
    """Seconds of the longest tested condensation that did not reach the goal."""


def reference_trial(case: Case, settings: GradientMatching, deadline: float) -> Trial | None:
    """Run `settings.iterations` outer iterations of the reference; None if time is up before.

    Args:
        case: the images and the test.
        settings: of the method.
        deadline: in the time of `time.time()`.
    """
    data = case.data()
    began = time.perf_counter()
    images = initial_images(data, settings, case.seed).requires_grad_()
    optimizer = SGD([images], settings.lr_img, momentum=settings.mom_img)
    for k in range(settings.iterations):
        if time.time() > deadline:
            return None
        reference.outer_iteration(data, settings, images, optimizer, case.seed, k)
    return Trial(settings.iterations, time.perf_counter() - began, case.test(images, data))


def engine_trial(
    case: Case, settings: GradientMatching, goal: Trial, deadline: float
) -> Trial | None:
    """Run the engine, tested after 0, 1, 2, 4, … outer iterations until it is as good as `goal`.

    It stops at the latest when it has taken as long as `goal`. With a decaying image learning rate,
    each length starts from the beginning, because the schedule depends on the length; otherwise the
    previous run is continued.

    Args:
        case: the images and the test.
        settings: of the method; `iterations` is ignored.
        goal: the reference's trial.
        deadline: in the time of `time.time()`; returns None if time is up before the end.
    """
    data = case.data()
    done, seconds = 0, 0.0
    below: float | None = None
    for length in lengths():
        if time.time() > deadline:
            return None
        began = time.perf_counter()
        matcher = Matcher(data, replace(settings, iterations=max(1, length)), case.seed)
        if length == 0 or settings.lr_img_schedule != "constant":
            done, seconds = 0, 0.0
            synthetic = matcher.synthetic(matcher.initial_images())
        for k in range(done, length):
            if time.time() > deadline:
                return None
            matcher.outer_iteration(synthetic, k)
        done, seconds = length, seconds + time.perf_counter() - began
        trial = Trial(done, seconds, case.test(synthetic.images(), data), below)
        if trial.accuracy.mean >= goal.accuracy.mean or seconds >= goal.seconds:
            return trial
        below = seconds
    raise AssertionError("lengths have no end")


def lengths() -> Iterator[int]:
    """0, 1, 2, 4, …"""
    yield 0
    yield from (2**power for power in itertools.count())


def in_a_process(
    backend: str, threads: int, function: Callable[P, T], *args: P.args, **rest: P.kwargs
) -> T:
    """Call a function in a new process set up for one backend (`benchmarks.workers`)."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, prepare, (backend, threads)) as pool:
        return pool.submit(function, *args, **rest).result()
