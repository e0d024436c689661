"""Some of what `python -m tests.kills` does."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kills.rounds import Killing

pytestmark = [
    pytest.mark.skipif(
        not Path("/proc/self/task").is_dir(), reason="forks, and looks for processes in /proc"
    ),
    pytest.mark.xdist_group("kills"),
]
TIMES = {"condensing": 3, "evaluating": 2, "searching": 1, "learning": 1}


@pytest.fixture(scope="module")
def killing() -> Iterator[Killing]:
    with Killing(seed=0) as made:
        yield made


@pytest.mark.parametrize(
    ("job", "number"), [(job, number) for job, times in TIMES.items() for number in range(times)]
)
def test_killed_at_a_random_moment_and_resumed(killing: Killing, job: str, number: int) -> None:
    found = killing.round(job, number)
    assert not found.fault, found
    assert found.kills, "it was over before it could be killed"
