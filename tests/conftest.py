"""Tiny image sets, and command lines run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Before torch is imported: several of these processes share the machine, and their networks are
# too small for two threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest
import torch
from processes import HANGS

from condense.data import ImageData
from condense.methods.gradient_matching import Matcher
from condense.seeds import generator

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("no clock", deadline=None)
hypothesis.settings.load_profile("no clock")


def blobs(per_class: int = 20, classes: int = 3, shape=(1, 8, 8), seed: int = 0) -> ImageData:
    """Images of a class share a noisy pattern; easy to learn, quick to condense."""
    draws = generator(seed, "blobs")
    patterns = torch.rand(classes, *shape, generator=draws)

    def split(n: int):
        labels = torch.arange(classes).repeat(n)
        noise = 0.3 * torch.randn(len(labels), *shape, generator=draws)
        pixels = (patterns[labels] + noise).clamp(0, 1)
        return (pixels * 255).to(torch.uint8), labels

    x_train, y_train = split(per_class)
    x_test, y_test = split(10)
    names = tuple("abcdefghij"[:classes])
    channels = shape[0]
    return ImageData(
        "blobs", x_train, y_train, x_test, y_test, (0.5,) * channels, (0.25,) * channels, names
    )


@pytest.fixture
def data() -> ImageData:
    return blobs()


@pytest.fixture
def iterations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The outer iterations that are begun, by number; the second of them is interrupted."""
    begun: list[int] = []
    original = Matcher.outer_iteration

    def stopping(self, images, velocity, k):
        begun.append(k)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return original(self, images, velocity, k)

    monkeypatch.setattr(Matcher, "outer_iteration", stopping)
    return begun


@pytest.fixture
def command(tmp_path: Path):
    """Runs `python -m …` in an empty folder with folders of its own for data and cache."""
    environment = {
        **os.environ,
        "CONDENSE_DATA": str(tmp_path / "data"),
        "CONDENSE_CACHE": str(tmp_path / "cache"),
    }

    def run(*arguments: str, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=tmp_path,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=HANGS,
        )
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
