"""Some of what `python -m tests.fuzz` does: what a fault says is how to run its case again."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.session import Session

pytestmark = [
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="forks"),
    pytest.mark.xdist_group("fuzz"),
]
CASES = {"files": 80, "runs": 20, "lines": 50}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(seed=0, learning=False) as made:
        yield made


def test_all_kinds_share_a_session(request: pytest.FixtureRequest, worker_id: str) -> None:
    """pytest-xdist 3.8 sends the tests of a group to several workers under pytest 9.2."""
    assert worker_id == "master" or request.node.nodeid.endswith("@fuzz")


@pytest.mark.parametrize("kind", CASES)
def test_whatever_is_asked_it_succeeds_or_says_in_a_line_why_not(
    session: Session, kind: str
) -> None:
    names = itertools.islice(session.names((kind,)), CASES[kind])
    failures = [failure for failure in map(session.run, names) if failure is not None]
    assert not failures, "\n".join(map(str, failures))
