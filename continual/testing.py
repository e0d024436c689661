"""Test accuracies of an Avalanche strategy, experience by experience."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import BaseLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate


def evaluator(loggers: Sequence[BaseLogger] = ()) -> EvaluationPlugin:
    """The evaluator that `accuracies` requires in a strategy.

    With loggers also the accuracy and loss of every epoch; without, it logs nothing.
    """
    if loggers:
        return EvaluationPlugin(
            accuracy_metrics(epoch=True, experience=True, stream=True),
            loss_metrics(epoch=True, experience=True),
            loggers=loggers,
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No loggers specified")
        return EvaluationPlugin(accuracy_metrics(experience=True))


def accuracies(strategy: SupervisedTemplate, stream: Any, known: int) -> list[float | None]:
    """Test accuracies on the first `known` experiences of a test stream; None for the others."""
    results = strategy.eval(stream[:known])
    found: list[float | None] = [None] * len(stream)
    for experience in stream[:known]:
        number, task = experience.current_experience, experience.task_label
        name = f"Top1_Acc_Exp/eval_phase/test_stream/Task{task:03d}/Exp{number:03d}"
        found[number] = results[name]
    return found
