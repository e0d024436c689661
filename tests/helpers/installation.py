"""The sdist and the wheel of the checkout, and an installation that does not see the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

from tests.helpers.processes import HANGS, ROOT

GENERATED = {"build", "dist", "runs"}
"""Folders that git ignores, at the top of a checkout."""


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it; without network, and not in the checkout."""
    source, built = folder / "source", folder / "built"
    shutil.copytree(ROOT, source, ignore=_generated)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", built, source]
    _succeeded(_run(command, folder))
    return next(built.glob("*.tar.gz")), next(built.glob("*.whl"))


def _generated(folder: str, names: list[str]) -> set[str]:
    top = Path(folder) == ROOT
    return {
        name
        for name in names
        if name in ("__pycache__", "_build")
        or (top and (name in GENERATED or name.startswith(".") or name.endswith(".egg-info")))
    }


class Installation:
    """A virtual environment with the wheel, and with the dependencies of this interpreter.

    Args:
        wheel: what is installed.
        folder: an empty folder; the commands run in `folder / "empty"`.
    """

    def __init__(self, wheel: Path, folder: Path) -> None:
        builder = venv.EnvBuilder(symlinks=True)
        context = builder.ensure_directories(folder / "environment")
        builder.create(context.env_dir)
        self.root, self.scripts = Path(context.env_dir), Path(context.bin_path)
        self.folder = folder / "empty"
        self.folder.mkdir()
        self._environment = {
            **_environment(),
            **{"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
            **{"CONDENSE_DATA": str(folder / "data"), "CONDENSE_CACHE": str(folder / "cache")},
        }
        install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", wheel]
        _succeeded(_run([sys.executable, "-m", "pip", "--python", self.python, *install], folder))
        where = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = self.run(self.python, "-c", where)
        # Paths in a .pth file are searched, but their own .pth files, of editable installations,
        # are not read.
        third_party = [path for path in sys.path if Path(path).name.endswith("-packages")]
        Path(packages.strip(), "third_party.pth").write_text("\n".join(third_party))

    @property
    def python(self) -> Path:
        """The interpreter."""
        return self.scripts / "python"

    def script(self, name: str, *arguments: str) -> str:
        """What an installed script prints."""
        return self.run(self.scripts / name, *arguments)

    def module(self, *arguments: str) -> str:
        """What `python -m …` prints."""
        return self.run(self.python, "-m", *arguments)

    def run(self, *command: str | Path) -> str:
        """What a command prints on stdout, if it succeeds."""
        return _succeeded(self.start(*command))

    def start(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """How a command ends."""
        return _run(command, self.folder, self._environment)


def _environment() -> dict[str, str]:
    """That of this process; the checkout may be in its search path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def _run(
    command: Iterable[str | Path], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env=environment or _environment(),
        capture_output=True,
        text=True,
        timeout=HANGS,
    )


def _succeeded(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout
