"""Networks whose classification layers grow with the stream.

The three scenarios (domain-, task- and class-incremental) share one module: a feature extractor and
a list of linear heads. `logits` gives the outputs of each head separately, for distillation.
`forward` combines them for Avalanche's strategies and metrics.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from avalanche.models import DynamicModule, MultiTaskModule
from torch import Tensor, nn

from condense import Classifier, UserError, generator, initialise, unknown
from continual.loading import input_dtype
from continual.streams import classes_of, task_labels_of


class MultiHead(DynamicModule):  # type: ignore[misc]
    """A feature extractor with a growing list of linear heads."""

    def __init__(self, features: nn.Module, dimensions: int, seed: int = 0) -> None:
        """Start without heads; `adaptation` adds them.

        Args:
            features: maps images to features, which are then flattened.
            dimensions: number of flattened features.
            seed: seed of the initial weights; each head has its own random stream.
        """
        super().__init__()
        self.features = features
        self.dimensions = dimensions
        self.seed = seed
        self.heads = nn.ModuleList()
        self.newest = 0
        """Index of the head of the last experience."""

    @abstractmethod
    def adaptation(self, experience: Any) -> None:
        """Add the heads that the experience needs. No effect in evaluation mode."""

    @abstractmethod
    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """Logits over all possible classes of each sample, [n, classes]."""

    def logits(self, images: Tensor) -> list[Tensor]:
        """Outputs of each head for images [n, c, h, w].

        Raises:
            UserError: if there is no head yet.
        """
        images = images.to(input_dtype(self.features))
        features = self.features(images).flatten(1)  # first: HerdingBuffer stops here, heads or not
        if not self.heads:
            raise UserError("the network has no heads before its first experience: train it first")
        return [head(features) for head in self.heads]

    def forward(self, images: Tensor, task_labels: Tensor | None = None) -> Tensor:
        """Logits [n, classes] of images [n, c, h, w]."""
        return self.combine(self.logits(images), task_labels)

    @property
    def sizes(self) -> list[int]:
        """Number of outputs of each head."""
        return [cast("nn.Linear", head).out_features for head in self.heads]

    def add_head(self, outputs: int) -> None:
        """Append a head with this number of outputs."""
        like = {
            "device": next(self.features.parameters()).device,
            "dtype": input_dtype(self.features),
        }
        head = nn.utils.skip_init(nn.Linear, self.dimensions, outputs, **like)
        initialise(head, generator(self.seed, "head", len(self.heads)))
        self.heads.append(head)


class DomainHead(MultiHead):
    """One head for all experiences, without task labels."""

    def adaptation(self, experience: Any) -> None:
        """Add the head at the first experience.

        Raises:
            UserError: if a later experience has more classes than the head.
        """
        if not self.training:
            return
        outputs = _outputs(experience)
        if not self.heads:
            self.add_head(outputs)
        known = self.sizes[0]
        if outputs > known:
            raise UserError(
                f"one shared head of {known} classes cannot learn class {outputs - 1}: use heads "
                "of kind class, or of kind task if each task has its own task label"
            )

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """Outputs of the only head."""
        return logits[0]


class TaskHeads(MultiHead, MultiTaskModule):  # type: ignore[misc]
    """One head per task; training and test use task labels."""

    def __init__(self, features: nn.Module, dimensions: int, seed: int = 0) -> None:
        super().__init__(features, dimensions, seed)
        self.tasks: list[int] = []
        """The task label of each head."""

    def adaptation(self, experience: Any) -> None:
        """Add a head for each new task label.

        Raises:
            UserError: if a known task now has more classes.
        """
        if not self.training:
            return
        outputs = _outputs(experience)
        for task in task_labels_of(experience):
            if task not in self.tasks:
                self.tasks.append(task)
                self.add_head(outputs)
            self.newest = self.tasks.index(task)
            if outputs > self.sizes[self.newest]:
                raise UserError(
                    f"task {task} has a head of {self.sizes[self.newest]} classes and cannot learn "
                    f"class {outputs - 1}: use heads of kind class"
                )

    def forward_all_tasks(self, images: Tensor) -> dict[int, Tensor]:
        """The outputs of each head by its task, as Avalanche's plugins use them."""
        return dict(zip(self.tasks, self.logits(images), strict=True))

    def forward(self, images: Tensor, task_labels: Tensor | None = None) -> Any:
        """Logits [n, classes] of images [n, c, h, w]; without task labels those of each task."""
        if task_labels is None:
            return self.forward_all_tasks(images)
        return super().forward(images, task_labels)

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """Outputs of the head of each image's task; -inf for classes that this head does not have.

        Raises:
            UserError: if there are no task labels.
        """
        if tasks is None:
            raise UserError("task heads need task labels: use heads of kind domain or class")
        width = max(self.sizes)
        combined = logits[0].new_full((len(tasks), width), -torch.inf)
        for task, head in zip(self.tasks, logits, strict=True):
            padded = F.pad(head, (0, width - head.shape[1]), value=-torch.inf)
            combined = torch.where((tasks == task)[:, None], padded, combined)
        return combined


class ClassHeads(MultiHead):
    """One head for the new classes of each experience; an image may be of any class so far."""

    def __init__(self, features: nn.Module, dimensions: int, seed: int = 0) -> None:
        super().__init__(features, dimensions, seed)
        self.classes: list[int] = []
        """The class of each output of all heads, in the order in which they came."""

    def adaptation(self, experience: Any) -> None:
        """Add a head for the new classes."""
        if not self.training:
            return
        new = [label for label in classes_of(experience) if label not in self.classes]
        if new:
            self.classes += new
            self.add_head(len(new))
            self.newest = len(self.heads) - 1

    def combine(self, logits: Sequence[Tensor], tasks: Tensor | None) -> Tensor:
        """Outputs of all heads in the order of the labels; -inf for classes still to come."""
        found = torch.cat(list(logits), 1)
        if self.classes == list(range(found.shape[1])):
            return found
        combined = found.new_full((len(found), max(self.classes) + 1), -torch.inf)
        columns = torch.tensor(self.classes[: found.shape[1]], device=found.device)
        return combined.index_copy(1, columns, found)


HEADS: dict[str, type[MultiHead]] = {
    "domain": DomainHead,
    "task": TaskHeads,
    "class": ClassHeads,
}
"""The networks with heads by kind."""


def with_heads(kind: str, network: nn.Module, seed: int = 0) -> MultiHead:
    """A network with heads of this kind instead of its linear `classifier`.

    Networks of `condense.build` and of Avalanche's `SimpleMLP` have such a classifier. The features
    of the first are those of `network`, those of others are copies.

    Raises:
        UserError: if the kind is unknown, or the network has no linear `classifier`.
    """
    if kind not in HEADS:
        raise unknown("kind of head", kind, HEADS)
    classifier = getattr(network, "classifier", None)
    if not isinstance(classifier, nn.Linear):
        raise UserError(
            f"{type(network).__name__} has no linear `classifier`, which the heads replace: make "
            f"continual.HEADS[{kind!r}](features, dimensions) of its features"
        )
    return HEADS[kind](_without_classifier(network), classifier.in_features, seed)


def _without_classifier(network: nn.Module) -> nn.Module:
    if isinstance(network, Classifier):
        return network.features
    # Not its `features`: the forward pass of others may flatten the images before, or pool after.
    body = copy.deepcopy(network)
    body.classifier = nn.Identity()
    return body


def _outputs(experience: Any) -> int:
    return max(classes_of(experience)) + 1
