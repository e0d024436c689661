"""A round: a run that is killed once or more, resumed to its end, and compared with a whole one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from condense.runs.closing import Closing
from tests.forkserver.client import Command, Running, shared_server
from tests.helpers.processes import HANGS, workers_of
from tests.helpers.results import differences, results, rows

from .jobs import JOBS, SET, Job, make_sets

POLL_SECONDS = 0.002
MOST_STARTS = 40
RUN, WHOLE = "run", "whole"


@dataclass(frozen=True)
class Whole:
    """A job's undisturbed run."""

    seconds: float
    rows: int
    results: dict[str, Any]


@dataclass(frozen=True)
class Round:
    """What came of one."""

    job: str
    number: int
    kills: int
    workers_killed: int
    fault: str
    """Empty where the bytes are the same."""

    def __str__(self) -> str:
        killed = f"killed {self.kills} times"
        if self.workers_killed:
            killed += f", {self.workers_killed} of them a worker"
        return f"{self.job} {self.number}: {killed}: {self.fault or 'the same'}"


class Killing(Closing):
    """Fork servers, and the undisturbed runs to compare with, made when they are first needed.

    Args:
        seed: of the moments.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="kills-")))
        self._whole: dict[str, Whole] = {}
        self._environment = {
            **os.environ,
            **{"CONDENSE_DATA": str(self._folder / "data"), "OMP_NUM_THREADS": "1"},
            **{"CONDENSE_CACHE": str(self._folder / "cache")},
        }
        make_sets(self._folder / "data")

    def round(self, job: str, number: int) -> Round:
        """Kills one run of a job, one to three times, and compares it."""
        whole = self._undisturbed(job)
        draws = random.Random(f"{self._seed}:{job}:{number}")
        run = self._folder / RUN
        shutil.rmtree(run, ignore_errors=True)
        wanted, kills, workers, ended, left = draws.choice((1, 1, 2, 3)), 0, 0, None, []
        try:
            for _ in range(MOST_STARTS):
                running = self._start(JOBS[job], RUN, draws.choice((0.0, 0.2, None)))
                left.append(running.pid)
                if kills < wanted:
                    moment = partial(self._reached, run, whole, draws.random(), draws.random())
                    a_worker = JOBS[job].workers and draws.random() < 0.4
                    if _wait(running, moment()):
                        kills += 1
                        if a_worker and _kill_worker(running, draws):
                            workers += 1
                        else:
                            running.kill()
                ended = running.wait()
                if ended.code == 0 and not kills:  # over before its moment came
                    shutil.rmtree(run)
                elif ended.code != -signal.SIGKILL or (run / "summary.json").exists():
                    break  # the summary is written last: what was killed after it is finished
        finally:
            for group in left:  # workers outlive a parent that was killed, for a while
                with suppress(ProcessLookupError):
                    os.killpg(group, signal.SIGKILL)
        fault = ""
        if not (run / "summary.json").exists():
            fault = f"exit {ended and ended.code}: {ended and ended.err.strip()[-500:]}"
        elif other := differences(whole.results, results(run, ordered=not JOBS[job].workers)):
            fault = f"differs in {', '.join(other)}"
        return Round(job, number, kills, workers, fault)

    def close(self) -> None:
        """Ends the servers and removes what was made."""
        self._stack.close()

    def _reached(self, run: Path, whole: Whole, share: float, rest: float) -> Any:
        """Whether the moment has come: after a share of the steps, or of the time of all."""
        began, steps_before = time.monotonic(), rows(run)
        if whole.rows > steps_before and rest < 0.7:
            target = steps_before + 1 + int(share * (whole.rows - steps_before))
            return lambda: rows(run) >= target
        return lambda: time.monotonic() - began >= share * whole.seconds

    def _undisturbed(self, job: str) -> Whole:
        if job not in self._whole:
            if job == "evaluating" and not (self._folder / SET).exists():
                _succeed(self._start(JOBS["condensing"], str(Path(SET).parent), None))
            began = time.monotonic()
            run = self._folder / f"{WHOLE}-{job}"
            _succeed(self._start(JOBS[job], run.name, None))
            seconds = time.monotonic() - began
            found = results(run, ordered=not JOBS[job].workers)
            self._whole[job] = Whole(seconds, rows(run), found)
        return self._whole[job]

    def _start(self, job: Job, out: str, every_seconds: float | None) -> Running:
        """Starts a run, or goes on with the one that is there."""
        arguments = [*job.arguments, "--out", out]
        if (self._folder / out / "config.json").exists():
            arguments = [*job.resume, "--resume", out, "--quiet"]
        command = Command(
            job.module,
            arguments,
            self._folder,
            self._environment,
            every_seconds=every_seconds,
            wall_seconds=HANGS,
        )
        return shared_server(job.server).start(command)


def _wait(running: Running, reached: Any) -> bool:
    """Waits for the moment; False where the run has ended before."""
    while not reached():
        if running.ended(POLL_SECONDS) is not None:
            return False
    return running.ended() is None


def _kill_worker(running: Running, draws: random.Random) -> bool:
    """Kills a worker of a run; False where it has none."""
    victims = workers_of(running.pid)
    if not victims:
        return False
    with suppress(ProcessLookupError):
        os.kill(draws.choice(victims), signal.SIGKILL)
        return True
    return False


def _succeed(running: Running) -> None:
    ended = running.wait()
    if ended.code:
        raise RuntimeError(f"an undisturbed run ended with {ended.code}: {ended.err}")
