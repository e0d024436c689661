"""Random streams: all random numbers of the project come from generators made here."""

from __future__ import annotations

import hashlib

import torch

from condense.validation import whole_number


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A new CPU generator for the stream of `seed` and `names`.

    Streams with different names are independent, and a stream depends only on its seed and names.
    So a resumed run creates the generators of its remaining steps and need not restore their
    states, and an additional draw in one place does not change draws in other places.

    >>> import torch
    >>> from condense import generator
    >>> one, same = generator(0, "outer", 7), generator(0, "outer", 7)
    >>> torch.equal(torch.rand(3, generator=one), torch.rand(3, generator=same))
    True
    """
    return torch.Generator().manual_seed(derive(seed, *names))


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed derived from `seed` and `names`.

    Raises:
        UserError: the seed is not a whole number.
    """
    digest = hashlib.sha256(repr((whole_number("seed", seed), *names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
