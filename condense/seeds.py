"""Random streams: every draw in the project comes from a generator that is made here."""

from __future__ import annotations

import hashlib
import operator

import torch


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A fresh CPU generator for the stream that `seed` and `names` stand for.

    Streams of different names are independent, and a stream depends on nothing but its seed and
    its names. So a resumed run makes the generators of the steps it has left anew, instead of
    restoring states, and one more draw in one place shifts no draw in another.

    >>> torch.equal(torch.rand(3, generator=generator(0, "outer", 7)),
    ...             torch.rand(3, generator=generator(0, "outer", 7)))
    True
    """
    return torch.Generator().manual_seed(derive(seed, *names))


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that stands for `seed` and `names`."""
    digest = hashlib.sha256(repr((operator.index(seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
