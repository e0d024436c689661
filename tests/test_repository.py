"""The files for a host of repositories and for those who cite the software."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from condense.distribution import DISTRIBUTION
from tests.helpers.processes import ROOT

if not (ROOT / ".github").is_dir():
    pytest.skip("an sdist has only some of the files", allow_module_level=True)
yaml = pytest.importorskip("yaml")


def read(path: Path | str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_tests_the_versions_of_the_metadata() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["test"]
    metadata = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    versions = re.findall(r"Programming Language :: Python :: (3\.\d+)", metadata)
    assert job["strategy"]["matrix"]["python-version"] == versions
    assert f'requires-python = ">={versions[0]}"' in metadata
    assert job["steps"][-1] == {"run": ".ci/run"}


@pytest.mark.parametrize("name", ["bug_report", "feature_request"])
def test_issue_forms(name: str) -> None:
    form = read(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert {"name", "description", "body"} <= {*form}
    assert all(part["attributes"]["label"] for part in form["body"])
    assert len({part["id"] for part in form["body"]}) == len(form["body"])


def test_hooks_are_those_of_the_environment() -> None:
    (local,) = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    assert {hook["entry"].split()[0] for hook in local["hooks"]} == {"ruff", "mypy"}
    assert {hook["language"] for hook in local["hooks"]} == {"system"}


def test_the_citation_names_the_papers_of_the_methods() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= {*citation}
    assert citation["title"] == DISTRIBUTION
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for paper in citation["references"]:
        assert {"type", "title", "authors"} <= {*paper}
        assert paper["url"] in glossary
