"""What it costs to start."""

import pytest

from tests.helpers.processes import python

ENGINE = "import condense; condense.condense, condense.evaluate, condense.load"
"""Names of the package are imported when they are first used, so these are."""

SLOW = {"avalanche", "matplotlib", "optuna", "pandas", "scipy", "sklearn", "torchvision", "tyro"}
"""Packages that the engine can be imported without; each takes a part of a second, or many."""


@pytest.mark.parametrize(
    ("imports", "without"),
    [("import condense", {*SLOW, "torch", "numpy"}), ("import nas", {"torch"}), (ENGINE, SLOW)],
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
    done = python(
        """
        import atexit, runpy, sys
        atexit.register(lambda: print(*sys.modules))
        module, *arguments = sys.argv[1:]
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        """,
        *([module, "run"] if module == "condense" else [module]),
        "--help",
    )
    assert flag in done.stdout
    assert set(done.stdout.split()) & {"avalanche", "torch", "optuna", "matplotlib"} == set()
