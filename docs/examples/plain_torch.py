"""Write a condensed set for other programs, and train on it without this package."""

from pathlib import Path

import torch
from torch import nn

from condense import load_condensed
from condense.export.formats import export

export(load_condensed("mnist", method="dsa", ipc=10), "pt", Path("mnist.pt"))

# From here on only PyTorch is needed.
found = torch.load("mnist.pt", weights_only=True)
mean, std = (torch.tensor(found[name])[:, None, None] for name in ("mean", "std"))
images = (found["images"] - mean) / std  # [n, c, h, w]; normalise the test images alike
labels = found["labels"]

torch.manual_seed(0)
network = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
for _ in range(50):
    loss = nn.functional.cross_entropy(network(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"{len(images)} images of {len(found['class_names'])} classes, loss {loss.item():.3f}")
