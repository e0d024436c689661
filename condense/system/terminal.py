"""Signals and standard streams of a command, under a terminal or a job scheduler."""

from __future__ import annotations

import io
import os
import signal
import sys
from threading import Timer
from types import FrameType
from typing import NoReturn

TERMINATING = ("SIGTERM", "SIGHUP")
"""Signals of job schedulers and closed terminals; Windows has only the first."""

RETRY_SECONDS = 0.01
"""After which a signal is sent again whose exception Python ignored."""


class Terminated(KeyboardInterrupt):
    """A signal that asks the process to end, treated like Ctrl-C: checkpoints are flushed."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def end_on_signals() -> None:
    """Make `TERMINATING` signals raise `Terminated`; ignored signals stay ignored."""
    for name in TERMINATING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _terminate)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _send_again


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # A second signal must not interrupt the flush of the checkpoint.
    for name in TERMINATING:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    raise Terminated(number)


def _send_again(ignored: sys.UnraisableHookArgs) -> None:
    """Python ignores what is raised while an object is destroyed; the run would go on."""
    cause = ignored.exc_value
    if not isinstance(cause, Terminated):
        sys.__unraisablehook__(ignored)
        return
    signal.signal(cause.number, _terminate)
    later = Timer(RETRY_SECONDS, os.kill, (os.getpid(), cause.number))
    later.daemon = True
    later.start()


def exit_code(interruption: KeyboardInterrupt) -> int:
    """128 plus the number of the signal, as in shells; Ctrl-C is SIGINT."""
    cause = interruption.__cause__ or interruption
    return 128 + (cause.number if isinstance(cause, Terminated) else signal.SIGINT)


def usable_streams() -> None:
    """Make sure that the standard streams can be written to.

    A closed stream is redirected to the null device; else the next opened file would get its
    descriptor. A character that the terminal cannot encode is printed as "?".
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, open(_reopened(descriptor), mode, encoding="utf-8"))  # noqa: SIM115
        elif descriptor and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _reopened(descriptor: int) -> int:
    """The descriptor; it is opened on the null device if it is closed."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != descriptor:
            os.dup2(null, descriptor)
            os.close(null)
    return descriptor
