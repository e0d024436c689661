"""Streams of the user's own data sets: `a.npz,b_folder`, or parts of one: `own.npz:classes=2`.

Their images are loaded by `continual.tasks`: the command line reads this module, without torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from continual.settings import BALANCED_REPLAY, SPLIT_REPLAY, StreamSpec

if TYPE_CHECKING:
    from condense import ImageData

PARTS = ":classes="


FORMS = f"NAME{PARTS}N, or A,B for your own data"
"""How a stream of the user's own data sets is given."""


def is_own(name: str) -> bool:
    """Whether a stream is named by its data sets."""
    return "," in name or PARTS in name


def own_spec(name: str, tasks: Sequence[ImageData] | None = None) -> StreamSpec:
    """Defaults for a stream of the user's data sets.

    The head is `domain` if all tasks have the same classes, else `class`.

    Args:
        name: as for `tasks.own_tasks`.
        tasks: its tasks; None: the head is that of tasks with the same classes.
    """
    same = tasks is None or len({task.class_names for task in tasks}) == 1
    if PARTS not in name:
        return StreamSpec((), head="domain" if same else "class")
    numbers = {part.partition(PARTS)[2].strip() for part in name.split(",")}
    number = numbers.pop() if len(numbers) == 1 else ""
    each = int(number) if number.isdecimal() else None
    replay = BALANCED_REPLAY if each == 1 else SPLIT_REPLAY  # ER-ACE needs two new classes
    return StreamSpec((), head="class", replay=replay, each=each)
