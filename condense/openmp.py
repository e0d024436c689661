"""How PyTorch's threads wait for each other.

They do so many times in a training step, by default by spinning for milliseconds. Where another
process needs the core that one of them is to run on, the others spin for as long as it waits: a
step of a small network becomes ten times slower. With a bounded spin they sleep instead, which
costs a twentieth of a step where nothing else runs.
"""

from __future__ import annotations

import os

SPINS = "2000"


def bound_spinning() -> None:
    """Have GNU's OpenMP, which PyTorch uses on Linux, sleep soon; a choice of the user's stays.

    Only before torch is imported: OpenMP reads its environment when it is loaded. A program that
    uses this package as a library sets `GOMP_SPINCOUNT=2000` itself.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
