"""The name, the version and the extras of the distribution."""

from __future__ import annotations

from importlib import metadata

import pytest

import condense
from condense.distribution import DISTRIBUTION, install_extra, version


def test_the_version_is_that_of_the_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert condense.__version__ == version() == metadata.version(DISTRIBUTION)

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert version() == "unknown"


def test_extras_of_the_distribution() -> None:
    assert install_extra("hub") == 'pip install "condense-toolkit[hub]"'
