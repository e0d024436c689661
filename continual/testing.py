"""Test accuracies of an Avalanche strategy, experience by experience."""

from __future__ import annotations

import warnings
from typing import Any

from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate


def evaluator() -> EvaluationPlugin:
    """The evaluator that `accuracies` requires in a strategy; it prints and logs nothing."""
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
