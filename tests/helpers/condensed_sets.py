"""Small condensed sets of random images."""

from dataclasses import replace

import torch

from condense.condensed_set import CondensedSet
from condense.seeds import generator


def a_set(classes=3, ipc=2, shape=(3, 8, 8)):
    n = classes * ipc
    return CondensedSet(
        images=torch.randn(n, *shape, generator=generator(0)),
        labels=torch.arange(classes).repeat_interleave(ipc),
        mean=(0.5, 0.4, 0.3)[: shape[0]],
        std=(0.2, 0.3, 0.4)[: shape[0]],
        class_names=tuple("äbc"[:classes]),
        provenance={"method": "dsa", "ipc": ipc, "accuracy": 0.5},
    )


def soft_labels(classes=3, ipc=2):
    return torch.randn(classes * ipc, classes, generator=generator(1)).softmax(1)


def a_soft_set(**rest):
    return replace(a_set(**rest), labels=soft_labels())


def a_set_with_lrs(**rest):
    return replace(a_set(**rest), distill_lrs=torch.tensor([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]))


def a_set_with_rounded_labels():
    return replace(a_set(), labels=(255 * soft_labels()).to(torch.uint8))
