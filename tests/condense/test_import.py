"""What it costs to start."""

from pathlib import Path

import pytest

from tests.helpers.processes import python

ENGINE = "import condense; condense.condense, condense.evaluate, condense.load"
"""Names of the package are imported when they are first used, so these are."""

SLOW = {"avalanche", "matplotlib", "optuna", "pandas", "scipy", "sklearn", "torchvision", "tyro"}
"""Packages that the engine can be imported without; each takes a part of a second, or many."""

RARE = {"datasets", "jinja2", "mlxtend", "sqlalchemy", "tensorboard"}
"""Packages that only some commands use, at their end or for some data sets."""


@pytest.mark.parametrize(
    ("imports", "without"),
    [
        ("import condense", {*SLOW, *RARE, "torch", "numpy"}),
        ("import nas, continual", {*SLOW, *RARE, "torch", "numpy"}),
        (ENGINE, {*SLOW, *RARE}),
    ],
)
def test_importing_costs_little_more_than_what_is_needed(imports: str, without: set[str]) -> None:
    done = python(f"import sys; {imports}; print(*sys.modules)")
    assert set(done.stdout.split()) & without == set()


@pytest.mark.parametrize(
    ("module", "flag"),
    [
        ("condense", "--preset"),
        ("continual.run", "--images-per-class"),
        ("nas.search", "--timeout"),
        ("nas.compare", "--out"),
    ],
)
def test_help_imports_nothing_slow(module: str, flag: str) -> None:
    """So that it is there at once, on any machine."""
    command = [module, "run"] if module == "condense" else [module]
    shown, imported = with_modules(*command, "--help")
    assert flag in shown
    assert imported & {*SLOW, *RARE, "torch", "numpy", "PIL"} == {"tyro"}


def test_showing_a_set_imports_what_it_needs(tmp_path: Path) -> None:
    out = tmp_path / "grid.png"
    shown, imported = with_modules("condense", "show", "mnist-dsa-1", "--out", str(out))
    assert "method    dsa" in shown
    assert imported & {*SLOW, *RARE} == {"tyro"}


def with_modules(*command: str) -> tuple[str, set[str]]:
    """What a command prints, and the modules that it has imported."""
    done = python(
        """
        import atexit, runpy, sys
        atexit.register(lambda: print("modules:", *sys.modules))
        module, *arguments = sys.argv[1:]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        """,
        *command,
    )
    shown, _, imported = done.stdout.partition("modules:")
    return shown, set(imported.split())
