"""Numbers for the experiences of a buffer."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

_Reference: TypeAlias = Callable[[], Any]


class ExperienceNumbers:
    """Gives each experience a number of its own, `current_experience` if possible.

    Two benchmarks that are trained one after another both count from 0, and so does each online
    stream. No number is given twice, also after an experience is gone: the random place of a group
    among others depends on it. The same experience has the same number again; some of Avalanche's
    streams make a new object at each access, with the same dataset. A copy, also by pickle, starts
    without knowing any experience.
    """

    def __init__(self) -> None:
        self._known: list[tuple[_Reference, _Reference, int, int]] = []
        self.given: set[int] = set()
        """All numbers so far."""

    def __getstate__(self) -> dict[str, Any]:
        return {"_known": [], "given": set(self.given)}

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
        number, used = place, {*taken, *self.given}
        if number in used:
            number = max(used) + 1
        self.given.add(number)
        self._known.append((_reference(experience), _reference(content), place, number))
        return number


def _reference(thing: Any) -> _Reference:
    """A weak reference; to an object that allows none a strong one."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing
