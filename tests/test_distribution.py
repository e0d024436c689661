"""The sdist and the wheel, and an installation of the wheel that runs without the checkout."""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from condense.distribution import DISTRIBUTION
from condense.system.scripts import SCRIPTS
from tests.helpers.installation import Installation, build
from tests.helpers.processes import ROOT

pytestmark = pytest.mark.xdist_group("distribution")
PACKAGES = ("condense", "continual", "nas")
SMOKE = ("--preset", "smoke", "--dataset", "digits", "--quiet", "--no-cache")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("distribution"))


@pytest.fixture(scope="module")
def about(built: tuple[Path, Path]) -> metadata.Distribution:
    """The metadata of the wheel."""
    with zipfile.ZipFile(built[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    return metadata.PathDistribution(zipfile.Path(built[1], name.removesuffix("METADATA")))


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(built[1], tmp_path_factory.mktemp("installation"))


def files_of(*folders: str) -> set[str]:
    """The files of a checkout."""
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "_build"} & {*path.parts}
    }


def test_the_wheel_contains_the_packages(built: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(built[1]) as wheel:
        names = {*wheel.namelist()}
    of_packages = {name for name in names if ".dist-info/" not in name}
    assert of_packages == files_of(*PACKAGES)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    for kind in ("zoo/mnist-dsa-10.safetensors", "runs/templates/report.html", "__init__.pyi"):
        assert f"condense/{kind}" in of_packages
    assert {f"{package}/py.typed" for package in PACKAGES} <= of_packages


def test_the_sdist_contains_what_builds_and_tests_need(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as sdist:
        members = (Path(member.name) for member in sdist.getmembers() if member.isfile())
        names = {Path(*member.parts[1:]).as_posix() for member in members}
    folders = (*PACKAGES, "benchmarks", "docs", "tests")
    tops = {name: name.partition("/")[0] for name in names}
    assert {name for name in names if tops[name] in folders} == files_of(*folders)
    rest = {name for name in names if tops[name] not in (*folders, "condense_toolkit.egg-info")}
    assert rest == {
        *("CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "PKG-INFO"),
        *("README.md", "constraints.txt", "pyproject.toml", "setup.cfg"),
    }


def test_the_version_is_that_of_the_changelog(about: metadata.Distribution) -> None:
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\S+) - ", changes, re.MULTILINE)[0] == about.version


def test_metadata(about: metadata.Distribution) -> None:
    found = about.metadata
    assert found["Name"] == DISTRIBUTION
    assert (found["License-Expression"], found["License-File"]) == ("MIT", "LICENSE")
    assert found["Description-Content-Type"] == "text/markdown"
    scripts = {point.name: point.value for point in about.entry_points}
    modules = {script: module.removeprefix("python -m ") for module, script in SCRIPTS.items()}
    modules["condense"] += ".__main__"
    assert scripts == {script: f"{module}:entry_point" for script, module in modules.items()}


def test_every_extra_that_is_named_exists(about: metadata.Distribution) -> None:
    extras = {*about.metadata.get_all("Provides-Extra", [])}
    sources = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    sources += [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    named: set[str] = set()
    for path in sources:
        text = path.read_text(encoding="utf-8")
        for several in re.findall(rf"""["`](?:{DISTRIBUTION}|\.)\[([\w,]+)\]["`]""", text):
            named.update(several.split(","))
        named.update(re.findall(r"""install_extra\(['"](\w+)""", text))
    assert {"hub", "postgres", "dashboard"} <= named <= extras


def test_both_names_of_a_command_have_the_same_help(installed: Installation) -> None:
    for module, script in SCRIPTS.items():
        arguments = ("run", "--help") if script == "condense" else ("--help",)
        shown = installed.script(script, *arguments)
        assert f"usage: {script} " in shown
        of_module = installed.module(*module.split()[2:], *arguments)
        assert f"usage: {module} " in of_module
        assert shown.split()[4:] == of_module.replace(module, script, 1).split()[4:]


def test_a_script_ends_with_the_codes_of_a_module(installed: Installation) -> None:
    for script in SCRIPTS.values():
        wrong = installed.start(installed.scripts / script, "--preset", "smoke", "--no-such-flag")
        assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (2, "", 1)


def test_condensing(installed: Installation) -> None:
    where = "import condense; print(condense.__file__)"
    assert Path(installed.run(installed.python, "-c", where)).is_relative_to(installed.root)
    run = ("run", *SMOKE, "--method", "random", "--evaluation.num-eval", "0", "--out", "a")
    installed.script("condense", *run)
    config = json.loads((installed.folder / "a" / "config.json").read_text())
    assert config["command"] == "python -m condense run"  # the same bytes, however it was started
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{config["version"]}"' in pyproject
    assert "random" in installed.module("condense", "show", "a/condensed.safetensors")


def test_searching(installed: Installation) -> None:
    """With a worker process, which imports the script again."""
    flags = ("--proxy", "random", "--n-trials", "1", "--workers", "2", "--retraining.networks", "0")
    assert "selected" in installed.script("condense-nas", *SMOKE, *flags, "--out", "b")
    assert "Spearman" in installed.module("nas.compare", "b")


def test_learning(installed: Installation) -> None:
    flags = ("--stream", "digits:classes=5", "--memory", "random", "--steps-per-epoch", "1")
    smoke = ("--preset", "smoke", "--quiet", "--no-cache", "--images-per-class", "1")
    assert "test accuracy" in installed.script("condense-continual", *flags, *smoke, "--out", "c")
