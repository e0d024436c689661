"""Numbers for the experiences of a buffer."""

from __future__ import annotations

import weakref
from collections.abc import Collection
from contextlib import suppress
from typing import Any


class ExperienceNumbers:
    """Gives each experience a number of its own, `current_experience` if possible.

    Two benchmarks that are trained one after another both count from 0, and so does each online
    stream. The same experience has the same number again; some of Avalanche's streams make a new
    object at each access, with the same dataset. A copy, also by pickle, starts without knowing any
    experience.
    """

    def __init__(self) -> None:
        self._known: list[tuple[weakref.ref[Any], weakref.ref[Any], int, int]] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_known": []}

    def of(self, experience: Any, taken: Collection[int] = ()) -> int:
        """The number of this experience; of a new one another than those in `taken`."""
        self._known = [
            known for known in self._known if known[0]() is not None or known[1]() is not None
        ]
        place = int(experience.current_experience)
        content = getattr(experience, "dataset", experience)
        for itself, dataset, at, number in self._known:
            # Several experiences may have one dataset.
            if itself() is experience or (dataset() is content and at == place):
                return number
        number, used = place, {*taken, *(other for *_, other in self._known)}
        if number in used:
            number = max(used) + 1
        with suppress(TypeError):  # an object without weak references is new each time
            self._known.append((weakref.ref(experience), weakref.ref(content), place, number))
        return number
