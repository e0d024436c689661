"""A space of three networks, and a short training of them."""

from __future__ import annotations

from condense import Network
from nas import Space, Training

SPACE = Space([Network(depth=1, width=8), Network(depth=4, width=8), Network(depth=1, width=16)])
"""The second is too deep for small images."""

BRIEF = Training(epochs=40, batch_size=30, augment=False)
"""Enough to learn some classes."""
