"""Settings of the teacher network, which gives soft labels."""

from __future__ import annotations

from dataclasses import dataclass, field

from condense.config.network import Network
from condense.validation import at_least, check_values


@dataclass(frozen=True)
class Teacher:
    """A network trained on the whole training split, with DSA's augmentation."""

    network: Network = field(default_factory=Network)
    steps: int = 2000
    batch_size: int = 128
    lr: float = 0.05
    """Initial learning rate; it falls to zero along half a cosine."""
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_values(self)
        at_least(1, self, "steps", "batch_size")
        at_least(0, self, "lr", "momentum", "weight_decay")
