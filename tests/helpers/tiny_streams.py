"""A small stream for tests: real 8×8 digits, upright, inverted and transposed, as 16×16 RGB; and
a plugin that watches EEIL on it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from avalanche.training.plugins import SupervisedPlugin

from condense import ImageData, Network, build, generator, load
from continual import EEIL, EEILConfig, RandomBuffer, with_heads
from continual.losses import noise_scale

TINY_EEIL = EEILConfig(
    epochs_first=2,
    epochs=2,
    steps_per_epoch=3,
    batch_size=32,
    finetune_epochs=3,
    network=Network(width=8, depth=2),
)


@cache
def tasks() -> tuple[ImageData, ...]:
    data = load("digits")
    rows = torch.cat([rows[:12] for rows in data.train_indices_by_class()])
    data = replace(
        data.train_subset(rows), x_test=data.x_test[:60], y_test=data.y_test[:60]
    ).resized(16, 3)
    inverted = replace(data, name="inverted", x_train=255 - data.x_train, x_test=255 - data.x_test)
    turned = replace(data, name="turned", x_train=data.x_train.mT, x_test=data.x_test.mT)
    return data, inverted, turned


def tiny_eeil(head: str = "domain", **changes: Any) -> EEIL:
    network = build(TINY_EEIL.network, (3, 16, 16), 10, generator(0, "network"))
    arguments: dict[str, Any] = {
        "model": with_heads(head, network),
        "memory": RandomBuffer(images_per_class=2),
        "config": TINY_EEIL,
        "evaluator": None,
    }
    return EEIL(**{**arguments, **changes})


class Watch(SupervisedPlugin):  # type: ignore[misc]
    """Notes what can be seen of the learner at every epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.epochs: list[dict[str, Any]] = []

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        self.teachers = [
            {name: value.clone() for name, value in teacher.model.state_dict().items()}
            for teacher in strategy.teachers
        ]

    def after_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        for teacher, before in zip(strategy.teachers, self.teachers, strict=True):
            for name, value in teacher.model.state_dict().items():
                assert torch.equal(value, before[name]), f"{name} of the teacher has moved"
            assert not any(p.requires_grad for p in teacher.model.parameters())
            assert not teacher.model.training
        self.epochs.append(
            {
                "stage": strategy.stage.name,
                "teaches": [list(teacher.heads) for teacher in strategy.teachers],
                "images": sum(map(len, strategy.dataloader.sources)),
                "remembered": 0
                if strategy.memory.samples is None
                else len(strategy.memory.samples),
                "lr": strategy.optimizer.param_groups[0]["lr"],
                "scale": noise_scale(strategy.stage.epochs_before + strategy.epoch + 1),
            }
        )
