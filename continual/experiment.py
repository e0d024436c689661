"""A learner on a stream, seed after seed, with a checkpoint after every experience."""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.benchmarks import CLScenario
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from torch import Tensor

from condense import (
    Cache,
    Checkpoint,
    CondensedSet,
    ImageData,
    Journal,
    Progress,
    RunFolder,
    build,
    generator,
    greedy_herding,
)
