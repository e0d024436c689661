"""Condensations that are timed and tested: the literal version's, and the engine's until it has
caught up."""

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

from benchmarks import literal
from benchmarks.workers import prepare
from condense.condensed_set import CondensedSet
from condense.data import ImageData, load
from condense.errors import UserError
from condense.evaluation import Accuracy, evaluate
from condense.methods.gradient_matching import Matcher
from condense.methods.images import initial_images
from condense.seeds import generator
from condense.settings import Evaluation, GradientMatching

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """What is condensed and how sets are tested."""

    dataset: str
    data_root: Path | None
    held_out: int
    """Training images that are set aside to test with."""
    evaluation: Evaluation
    seed: int

    def data(self) -> ImageData:
        """The data set, its test split replaced by training images that are held out.

        Raises:
            UserError: where the set cannot be had, or has no more than are to be held out.
        """
        whole = load(self.dataset, self.data_root)
        count = len(whole.x_train)
        if self.held_out >= count:
            raise UserError(f"{whole.name} has {count} training images: hold fewer out")
        order = torch.randperm(count, generator=generator(0, "held out"))
        aside, rest = order[: self.held_out], order[self.held_out :].sort().values
        few = whole.train_subset(rest)
        return replace(few, x_test=whole.x_train[aside], y_test=whole.y_train[aside])

    def test(self, images: Tensor, data: ImageData) -> Accuracy:
        """What synthetic images [classes, ipc, c, h, w] are worth."""
        labels = torch.arange(data.classes).repeat_interleave(images.shape[1])
        made = CondensedSet.from_normalised(images.detach().flatten(0, 1), labels, data)
        return evaluate(made, data, self.evaluation, seed=self.seed)


@dataclass(frozen=True)
class Trial:
    """A condensation and its test."""

    iterations: int
    """Outer ones."""
    seconds: float
    """Of condensing alone."""
    accuracy: Accuracy
    below: float | None = None
    """Seconds of the longest that was tested and fell short of the goal."""


def literal_trial(case: Case, settings: GradientMatching, deadline: float) -> Trial | None:
    """`settings.outer` iterations of the literal version; None where time is up before.

    Args:
        case: the images and the test.
        settings: of the method.
        deadline: as `time.time()` has it.
    """
    data = case.data()
    began = time.perf_counter()
    images = initial_images(data, settings, case.seed).requires_grad_()
    optimizer = SGD([images], settings.image_lr, momentum=settings.image_momentum)
    for k in range(settings.outer):
        if time.time() > deadline:
            return None
        literal.outer_iteration(data, settings, images, optimizer, case.seed, k)
    return Trial(settings.outer, time.perf_counter() - began, case.test(images, data))


def engine_trial(
    case: Case, settings: GradientMatching, goal: Trial, deadline: float
) -> Trial | None:
    """The engine, tested after 0, 1, 2, 4, … outer iterations until it is as good as `goal`.

    It ends in any case once it has taken as long. Where the images' rate falls, each length is
    begun anew, since the rate depends on the length; else the last one is taken further.

    Args:
        case: the images and the test.
        settings: of the method; `outer` counts for nothing.
        goal: what is to be caught up with.
        deadline: as `time.time()` has it; None is returned where time is up before the end.
    """
    data = case.data()
    done, seconds = 0, 0.0
    below: float | None = None
    images = velocity = torch.empty(0)
    for length in lengths():
        if time.time() > deadline:
            return None
        began = time.perf_counter()
        matcher = Matcher(data, replace(settings, outer=max(1, length)), case.seed)
        if length == 0 or settings.image_schedule != "constant":
            done, seconds, images = 0, 0.0, matcher.initial_images()
            velocity = torch.zeros_like(images)
        for k in range(done, length):
            if time.time() > deadline:
                return None
            matcher.outer_iteration(images, velocity, k)
        done, seconds = length, seconds + time.perf_counter() - began
        trial = Trial(done, seconds, case.test(images, data), below)
        if trial.accuracy.mean >= goal.accuracy.mean or seconds >= goal.seconds:
            return trial
        below = seconds
    raise AssertionError("lengths have no end")


def lengths() -> Iterator[int]:
    """0, 1, 2, 4, …"""
    yield 0
    yield from (2**power for power in itertools.count())


def in_a_process(
    side: str, threads: int, function: Callable[P, T], *args: P.args, **rest: P.kwargs
) -> T:
    """Call a function, and its arguments, in a process of one side (`benchmarks.workers`)."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, prepare, (side, threads)) as pool:
        return pool.submit(function, *args, **rest).result()
