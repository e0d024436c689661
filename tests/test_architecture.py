"""The layers of the packages, short files and functions, and the map of the files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

LAYERS = (
    ("benchmarks",),
    ("continual", "nas"),
    ("condense.__main__",),
    ("condense.zoo_table",),
    ("condense.run_report",),
    ("condense.baselines", "condense.export"),
    ("condense.api",),
    ("condense.zoo",),
    ("condense.cli",),
    ("condense.methods",),
    ("condense.evaluation",),
    ("condense.gradients", "condense.training"),
    ("condense.augment", "condense.models"),
    ("condense.storage.capacity",),
    ("condense.foreign_sets", "condense.strips"),
    ("condense.condensed_set",),
    ("condense.set_fields",),
    ("condense.set_checks",),
    ("condense.storage",),
    ("condense.data",),
    ("condense.config",),
    ("condense.runs",),
    ("condense.system",),
    ("condense.seeds",),
    ("condense.validation",),
    ("condense.distribution", "condense.errors", "condense.pictures"),
)
"""From the top. A module imports from its own part or from layers below."""

PACKAGES = ("condense", "continual", "nas", "benchmarks")
MAX_FILE_LINES = 400
MAX_LINES = 60
"""Of a function, its documentation included."""
MAX_PARAMETERS = 8


def part_of(module: str) -> str | None:
    """The longest name in `LAYERS` that the module is, or is in."""
    named = [part for layer in LAYERS for part in layer]
    found = [part for part in named if module == part or module.startswith(f"{part}.")]
    return max(found, key=len, default=None)


def depth_of(part: str) -> int:
    return next(depth for depth, layer in enumerate(LAYERS) if part in layer)


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if part_of(whole) != part_of(node.module) else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_every_module_is_in_a_layer() -> None:
    names = [name for name, _ in modules() if name != "condense"]
    assert len(names) > 100
    assert [name for name in names if part_of(name) is None] == []


def test_no_module_imports_from_above() -> None:
    upward = []
    for name, path in modules():
        own = part_of(name)
        for imported in imports(path):
            other = part_of(imported)
            if own is None or other is None or other == own:
                continue
            if depth_of(other) <= depth_of(own):
                upward.append(f"{name} imports {imported}")
    assert upward == []


def test_no_module_is_in_a_circle() -> None:
    known = dict(modules())
    graph = {
        name: {found for found in imports(path) if found in known and found != name}
        for name, path in known.items()
    }
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def functions(source: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(arguments: ast.arguments) -> list[str]:
    """All but the object or class of a method; `*args` and `**kwargs` count one each."""
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    rest = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [one.arg for one in [*named, *rest] if one.arg not in ("self", "cls")]


@pytest.mark.parametrize("package", PACKAGES)
def test_files_and_functions_are_short(package: str) -> None:
    long = []
    for path in sorted((ROOT / package).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > MAX_FILE_LINES:
            long.append(str(path))
        for function in functions(source):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > MAX_LINES:
                long.append(f"{path}: {function.name} has {lines} lines")
    assert long == []


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_have_few_parameters(package: str) -> None:
    """More of them belong into a dataclass of settings."""
    many = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for function in functions(path.read_text(encoding="utf-8")):
            names = parameters(function.args)
            if len(names) > MAX_PARAMETERS:
                many.append(f"{path}: {function.name} has {len(names)} parameters")
    assert many == []


@pytest.mark.parametrize("package", ["condense", "continual", "nas"])
def test_every_file_is_in_the_map(package: str) -> None:
    described = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = sorted((ROOT / package).rglob("[!_]*.py"))
    assert not [path for path in files if f"{path.name} " not in described]
