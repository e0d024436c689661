"""What a command needs of the terminal or job scheduler that has started it."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

TERMINATING = ("SIGTERM", "SIGHUP")
"""What job schedulers and closed terminals send; Windows has only the first."""


class Terminated(KeyboardInterrupt):
    """A signal that asks the process to end, treated like Ctrl-C: checkpoints are flushed."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def end_on_signals() -> None:
    """From now on `TERMINATING` signals raise `Terminated`; those that are ignored stay so."""
    for name in TERMINATING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _terminate)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # One that is sent again must not interrupt the flush of the checkpoint.
    for name in TERMINATING:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Terminated(number)


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 and the number of the signal, as shells have it; Ctrl-C is SIGINT."""
    cause = interruption.__cause__ or interruption
    return 128 + (cause.number if isinstance(cause, Terminated) else signal.SIGINT)


def usable_streams() -> None:
    """Have standard streams that can be written to, whatever they are.

    A closed one goes nowhere, lest the next file that is opened take its place. A character that
    the terminal's encoding lacks is printed as "?".
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(_reopened(descriptor), mode, encoding="utf-8"))  # noqa: SIM115
        elif descriptor and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _reopened(descriptor: int) -> int:
    """The descriptor, on the null device where it is closed."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
    return descriptor
