"""Searches that share a PostgreSQL server, as users run them on several machines."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError

from nas import space_named
from tests.helpers.postgres import server
from tests.helpers.processes import at_work, workers_of
from tests.helpers.tiny_searches import QUICK, SPACE, in_an_empty_folder, summary  # noqa: F401

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for processes in /proc"),
    pytest.mark.xdist_group("postgres"),
]
TRIALS, KILLS, RESTARTS = 10, 3, (2, 5)
SOON_DEAD = """
import nas.database, nas.liveness
nas.database.HEARTBEAT_SECONDS = nas.liveness.HEARTBEAT_SECONDS = 1
nas.database.GRACE_SECONDS = nas.liveness.GRACE_SECONDS = 5
"""


def searching(out: str, url: str) -> subprocess.Popen[str]:
    flags = ("--space", "own_space:quick", "--proxy", "random", "--n-trials", str(TRIALS))
    more = ("--workers", "2", "--training.epochs", "10", "--storage", url, "--out", out)
    return subprocess.Popen(
        [sys.executable, "-m", "nas.search", *QUICK, *flags, *more],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def complete(url: str) -> Counter[int]:
    """How often each architecture was trained to the end."""
    storage = optuna.storages.RDBStorage(url)
    trials = storage.get_all_trials(storage.get_all_studies()[0]._study_id)
    return Counter(
        trial.user_attrs["index"] for trial in trials if trial.state == TrialState.COMPLETE
    )


def test_kills_and_restarts_of_the_server_lose_nothing_and_double_nothing() -> None:
    """Two run folders with two workers each; workers are killed, the server is cut off twice."""
    Path("own_space.py").write_text(SPACE + SOON_DEAD)
    database = server()
    url = database.new_database("killed")
    searches = [searching(out, url) for out in ("one", "two")]
    engine = create_engine(url, pool_pre_ping=True)

    def count() -> int:
        query = text("SELECT count(*) FROM trials WHERE state = 'COMPLETE'")
        try:
            with engine.connect() as connection:
                return int(connection.execute(query).scalar_one())
        except ProgrammingError:
            return 0  # the tables are not there yet

    killed, restarts, draws = 0, list(RESTARTS), random.Random(0)
    for _ in at_work(*searches, pause=0.2):
        done = count()
        if restarts and done >= restarts[0]:
            restarts.pop(0)
            database.stop()
            time.sleep(0.5)
            database.start()
        workers = [w for each in searches if each.poll() is None for w in workers_of(each.pid)]
        if workers and killed < min(done, KILLS):
            os.kill(draws.choice(workers), signal.SIGKILL)
            killed += 1
    errors = [each.communicate()[1] for each in searches]
    assert [each.returncode for each in searches] == [0, 0], "\n".join(errors)
    assert killed >= 2
    assert restarts == []
    assert complete(url) == Counter(space_named("own_space:quick").order()[:TRIALS])
    tables = [Path(out, "architectures.csv").read_bytes() for out in ("one", "two")]
    assert tables[0] == tables[1]
    assert [summary(out)["n_complete"] for out in ("one", "two")] == [TRIALS, TRIALS]
