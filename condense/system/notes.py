"""Notes and warnings for the user on stderr: lines about what is done with the input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from condense.errors import printable

_shown = True


def note(text: str) -> None:
    """Print `note: TEXT` as one line on stderr, but not in a block of `no_notes`."""
    _print(f"note: {text}")


def warning(text: str) -> None:
    """Print `warning: TEXT`, as `note` does: something is lost, or done another time."""
    _print(f"warning: {text}")


def _print(line: str) -> None:
    if _shown:
        from tqdm import tqdm

        tqdm.write(printable(line), file=sys.stderr)  # not into the line of a bar


@contextmanager
def no_notes() -> Iterator[None]:
    """For a process that reads the same input as the main one, which prints them."""
    global _shown
    before, _shown = _shown, False
    try:
        yield
    finally:
        _shown = before
