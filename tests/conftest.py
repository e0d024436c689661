"""Tiny image sets, and command lines run as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

# Before torch is imported: several of these processes share the machine, and their networks are
# too small for two threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from condense.data.image_data import ImageData
from condense.methods.gradient_matching import Matcher
from tests.helpers import postgres
from tests.helpers.images import blobs
from tests.helpers.modules import run_module

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def pytest_configure(config: pytest.Config) -> None:
    """Have all temporary files in one folder, which is removed at the end.

    Killed processes leave theirs behind, and so do libraries. The workers of xdist inherit it.
    """
    if not hasattr(config, "workerinput"):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())  # of `tmp_path`
        tempfile.tempdir = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="condense-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)


def pytest_sessionfinish() -> None:
    """Close the server before a worker says that it has finished: soon after, xdist kills it."""
    while postgres.STARTED:
        postgres.STARTED.pop().close()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than processors: many tests wait for processes that they have started."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in groups come first: they share processes or take long, and must not be last."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


@pytest.fixture
def data() -> ImageData:
    return blobs()


@pytest.fixture
def iterations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The outer iterations that are begun, by number; the second of them is interrupted."""
    begun: list[int] = []
    original = Matcher.outer_iteration

    def stopping(self, synthetic, k):
        begun.append(k)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return original(self, synthetic, k)

    monkeypatch.setattr(Matcher, "outer_iteration", stopping)
    return begun


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m …` in an empty folder with folders of its own for data and cache."""
    environment = {
        **os.environ,
        "CONDENSE_DATA": str(tmp_path / "data"),
        "CONDENSE_CACHE": str(tmp_path / "cache"),
    }

    def run(
        *arguments: str, code: int = 0, folder: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        where, more = tmp_path / folder, {**environment, **more}
        done = run_module(*arguments, folder=where, environment=more)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
