"""Bounded spinning of PyTorch's threads.

The threads wait for each other many times in a training step, by default by spinning for
milliseconds. If another process uses the core of one thread, the others spin until it continues: a
step of a small network becomes ten times slower. With a spin limit they sleep instead, which costs
a twentieth of a step if nothing else runs.
"""

from __future__ import annotations

import os

SPINS = "2000"


def bound_spinning() -> None:
    """Limit spinning of GNU OpenMP, which PyTorch uses on Linux; does not override the user.

    Call it before torch is imported: OpenMP reads its environment when it is loaded. A program
    that uses this package as a library sets `GOMP_SPINCOUNT=2000` itself.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
