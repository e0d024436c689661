"""What a fork does: be a process that was started as `python -m MODULE ARGUMENTS`."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1


def become(request: dict[str, Any], done: mmap.mmap) -> NoReturn:
    """Runs the command of a request and exits with its code.

    Args:
        request: a `forkserver.client.Command` as a dictionary.
        done: 8 bytes of shared memory; counts the steps that the command has made.
    """
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(request["folder"])
        sys.path.insert(0, request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        _redirect(request)
        _limit(request)
        _count_steps(done)
        if request["steady_clock"]:
            _steady_clock()
        if request["every_seconds"] is not None:
            _keep_checkpoints(request["every_seconds"])
        if request["interrupt_after"]:
            _interrupt_after(request["interrupt_after"])
        code = _exit_code(request)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _exit_code(request: dict[str, Any]) -> int:
    sys.argv = [request["module"], *request["arguments"]]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code: Any = 0
    except SystemExit as stop:
        code = stop.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if not isinstance(code, int):
        if code is not None:
            print(code, file=sys.stderr)
        code = 0 if code is None else 1
    try:  # as the interpreter does when it ends
        if sys.stdout is not None:
            sys.stdout.flush()
    except Exception:
        traceback.print_exc()
        code = 120
    if sys.stderr is not None:
        sys.stderr.flush()
    return code & 0xFF


def _redirect(request: dict[str, Any]) -> None:
    """The three standard streams as a shell would set them up, and no other file open."""
    encoding = request["environment"].get("PYTHONIOENCODING", "utf-8")
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(file, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.closerange(3, 4096)
    sys.stdin = Path("/dev/stdin").open(encoding="utf-8")  # noqa: SIM115
    sys.stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", buffering=1)
    if request["closed_stdout"]:
        os.close(1)
        sys.stdout = None  # type: ignore[assignment]  # as the interpreter has it
    else:
        sys.stdout = os.fdopen(1, "w", encoding=encoding)
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr


def _limit(request: dict[str, Any]) -> None:
    if request["cpu_seconds"] is not None:
        # Twice as much: the server kills in time, unless it is held up itself.
        seconds = 2 * request["cpu_seconds"]
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    if request["memory"] is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + request["memory"]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _count_steps(done: mmap.mmap) -> None:
    """Count what shows that a command is at work: reports to checkpointers, steps of optimizers."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from condense.runs.checkpointer import FileCheckpointer

    numbers = itertools.count(1)

    def count(*_: object) -> None:
        done[:8] = next(numbers).to_bytes(8, "little")

    register_optimizer_step_post_hook(count)
    report = FileCheckpointer.report

    def counted(self: FileCheckpointer, done: int, total: int, **metrics: float) -> None:
        count()
        report(self, done, total, **metrics)

    FileCheckpointer.report = counted  # type: ignore[method-assign]


def _steady_clock() -> None:
    """The same times in every run, so that files which tell them have the same length."""
    monotonic, now = itertools.count(1), itertools.count(1)
    time.monotonic = lambda: 1e-3 * next(monotonic)
    time.time = lambda: 1_700_000_000 + 1e-3 * next(now)


def _keep_checkpoints(every_seconds: float) -> None:
    """Have checkpoints written so often, whatever a command says."""
    from condense.runs.checkpointer import FileCheckpointer

    init = FileCheckpointer.__init__

    def often(self: FileCheckpointer, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **{**options, "every_seconds": every_seconds})

    FileCheckpointer.__init__ = often  # type: ignore[method-assign]


def _interrupt_after(checkpoints: int) -> None:
    """Have Ctrl-C come when so many checkpoints have been offered."""
    from condense.runs.checkpointer import FileCheckpointer

    save, numbers = FileCheckpointer.save, itertools.count(1)

    def stopping(self: FileCheckpointer, checkpoint: Any) -> None:
        save(self, checkpoint)
        if next(numbers) == checkpoints:
            raise KeyboardInterrupt

    FileCheckpointer.save = stopping  # type: ignore[method-assign]
