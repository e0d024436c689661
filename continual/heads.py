"""Networks whose classification layers grow with the stream.

Three readings of "what is a class" share one module: a feature extractor and a list of linear
heads. `logits` gives every head's outputs, which distillation needs one by one; `forward` puts
them together, which is what Avalanche's strategies and metrics see.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from avalanche.models import MultiTaskModule
from torch import Tensor, nn

from condense import Classifier, UserError, generator, initialise, unknown


class MultiHead(MultiTaskModule):  # type: ignore[misc]
    """A feature extractor with a growing list of linear heads."""

    def __init__(self, features: nn.Module, dimensions: int, seed: int = 0) -> None:
        """Start without heads; the experiences bring them.

        Args:
            features: takes images to features, whose dimensions are flattened.
            dimensions: of the flattened features.
            seed: each new head's weights are drawn from a stream of its own.
        """
        super().__init__()
        self.features = features
        self.dimensions = dimensions
        self.seed = seed
        self.heads = nn.ModuleList()
        self.newest = 0
        """Position of the head that the last experience trained."""

    @abstractmethod
    def adaptation(self, experience: Any) -> None:
        """Add the heads that the experience needs. Does nothing in evaluation mode."""

    @abstractmethod
    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """One score for each class that a sample may belong to, [n, classes]."""

    def logits(self, images: Tensor) -> list[Tensor]:
        """Each head's outputs for images [n, c, h, w]."""
        features = self.features(images).flatten(1)
        return [head(features) for head in self.heads]

    def forward(self, images: Tensor, task_labels: Tensor | None = None) -> Tensor:
        """Scores [n, classes] of images [n, c, h, w]."""
        return self.combine(self.logits(images), task_labels)

    @property
    def sizes(self) -> list[int]:
        """Outputs of each head."""
        return [cast("nn.Linear", head).out_features for head in self.heads]

    def add_head(self, outputs: int) -> None:
        """Append a head with this many outputs."""
        head = nn.Linear(self.dimensions, outputs)
        initialise(head, generator(self.seed, "head", len(self.heads)))
        self.heads.append(head.to(next(self.features.parameters()).device))


class DomainHead(MultiHead):
    """One head that all experiences share; nobody says which task an image is from."""

    def adaptation(self, experience: Any) -> None:
        """Make the head at the first experience.

        Raises:
            UserError: where a later experience has more classes than the head.
        """
        if not self.training:
            return
        outputs = _outputs(experience)
        if not self.heads:
            self.add_head(outputs)
        known = self.sizes[0]
        if outputs > known:
            raise UserError(
                f"one shared head of {known} classes cannot learn class {outputs - 1}; "
                "use --head task or --head class"
            )

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """The only head's outputs."""
        return logits[0]


class TaskHeads(MultiHead):
    """A head for each task; the task of each image is told at training and at test."""

    def __init__(self, features: nn.Module, dimensions: int, seed: int = 0) -> None:
        super().__init__(features, dimensions, seed)
        self.tasks: list[int] = []
        """The task label of each head."""

    def adaptation(self, experience: Any) -> None:
        """Add a head for each task label not seen before.

        Raises:
            UserError: where a task that has been seen has more classes now.
        """
        if not self.training:
            return
        outputs = _outputs(experience)
        for task in experience.task_labels:
            if task not in self.tasks:
                self.tasks.append(task)
                self.add_head(outputs)
            self.newest = self.tasks.index(task)
            if outputs > self.sizes[self.newest]:
                raise UserError(
                    f"task {task} has a head of {self.sizes[self.newest]} classes and cannot learn "
                    f"class {outputs - 1}; use --head class"
                )

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """Each image's outputs from its own task's head; -inf for classes that head lacks.

        Raises:
            UserError: where no task labels are given.
        """
        if tasks is None:
            raise UserError("heads by task need task labels; use --head domain or --head class")
        width = max(self.sizes)
        combined = logits[0].new_full((len(tasks), width), -torch.inf)
        for task, head in zip(self.tasks, logits, strict=True):
            padded = F.pad(head, (0, width - head.shape[1]), value=-torch.inf)
            combined = torch.where((tasks == task)[:, None], padded, combined)
        return combined


class ClassHeads(MultiHead):
    """A head for the classes that each experience brings; an image may be of any class so far."""

    def adaptation(self, experience: Any) -> None:
        """Add a head for the classes beyond the known ones.

        Raises:
            UserError: where a class comes before one of a lower label, whose output would then be
                part of this experience's head.
        """
        if not self.training:
            return
        known = sum(self.sizes)
        missing = set(range(known, _outputs(experience))) - set(
            experience.classes_in_this_experience
        )
        if missing:
            raise UserError(
                f"class {min(missing)} has not come yet, but class {_outputs(experience) - 1} has: "
                "growing heads take classes in the order of their labels (in Avalanche, "
                "class_ids_from_zero_from_first_exp=True)"
            )
        if _outputs(experience) > known:
            self.add_head(_outputs(experience) - known)
            self.newest = len(self.heads) - 1

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """All heads' outputs side by side."""
        return torch.cat(list(logits), 1)


HEADS: dict[str, type[MultiHead]] = {
    "domain": DomainHead,
    "task": TaskHeads,
    "class": ClassHeads,
}


def with_heads(kind: str, network: Classifier, seed: int = 0) -> MultiHead:
    """A network of `condense.build` with heads of this kind in place of its classifier.

    Raises:
        UserError: for an unknown kind.
    """
    if kind not in HEADS:
        raise unknown("kind of head", kind, HEADS)
    return HEADS[kind](network.features, network.classifier.in_features, seed)


def _outputs(experience: Any) -> int:
    return int(max(experience.classes_in_this_experience)) + 1
