"""Rank your own architectures on a condensed set, and compare with the ranking on all images."""

from torch import nn

import condense
from nas import Space, Training, make_proxy, rank, train_architecture


def build(hidden, shape, classes):
    """A network with this number of hidden units."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, hidden),
        nn.ReLU(),
        nn.Linear(hidden, classes),
    )


space = Space([1, 2, 4, 8, 16], build=build)
data = condense.load("digits")
small = condense.condense(data, "dm", preset="smoke", ipc=1)


def scores(name, condensed, training):
    """The test accuracy of each architecture."""
    proxy = make_proxy(name, data, condensed, training, seed=0)
    found = (train_architecture(space, i, proxy, data, training, seed=0) for i in range(len(space)))
    return [result.score for result in found]


on_small = scores("dm", small, Training(steps=50, lr=0.05))
on_all = scores("whole", None, Training(steps=150, lr=0.05))
for name, few, many in zip(space.names, on_small, on_all, strict=True):
    print(f"{name:>2} hidden units: {100 * few:.1f} % on the set, {100 * many:.1f} % on all images")
print(f"Spearman: {rank(on_small, on_all).spearman_all}")
