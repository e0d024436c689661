"""The documents: every command and every snippet of Python is run as it is written, or at least
read by the real parser; every link leads somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command_lines import parse, split
from tests.helpers.documents import (
    COMMANDS,
    LINKED,
    OTHER,
    PAGES,
    Block,
    anchors,
    blocks,
    inline_commands,
    links,
    name_of,
)
from tests.helpers.processes import ROOT
from tests.helpers.reader_files import write_files

CODE = [page for page in PAGES if any(block.language not in OTHER for block in blocks(page))]
RUN = [page for page in CODE if any(block.run and not block.file for block in blocks(page))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
HUB = ("parquet", "load_dataset")
"""What needs Hugging Face's library, which is optional."""

FOUND = {
    "docs/using-a-set.md": (
        "len(pictures) == len(arrays['labels']) == 20",
        "tensors['images'].equal(small.images)",
    ),
    "docs/own-images.md": (
        "data.class_names == both.class_names == ('cat', 'dog')",
        "again.images.allclose(small.images, atol=1e-6)",
    ),
    "docs/avalanche.md": (
        "len(image) == 1",
        "len(logits) == 4",
        "len(samples) == len(memory.buffer)",
        "all(weights.isfinite().all() for weights in model.parameters())",
    ),
}
"""What is true of the names of a page when it has been run."""

pytestmark = pytest.mark.filterwarnings("ignore:No loggers specified")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder of a reader, who is content with the smoke preset."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (
        ("HF_HOME", "hub"),
        ("CONDENSE_DATA", "data"),
        ("CONDENSE_CACHE", "cache"),
    ):
        monkeypatch.setenv(name, str(tmp_path / folder))
    for module in ("condense.api", "condense.evaluation", "continual.condensed_buffer"):
        monkeypatch.setattr(f"{module}.preset_for", lambda *_: "smoke")
    return tmp_path


def in_smoke(line: str, monkeypatch: pytest.MonkeyPatch) -> list[str] | None:
    """Module and arguments of a command, with the smoke preset where it has presets and names
    none; None if it is not one of this project."""
    settings = parse(line, monkeypatch)
    if settings is None:
        return None
    module, arguments = split(line)
    if hasattr(settings, "common"):
        arguments += ["--quiet", *([] if "--preset" in arguments else ["--preset", "smoke"])]
    return [module, *arguments]


def program(block: Block) -> Any:
    """The compiled code of a snippet, with its place in the document."""
    tree = ast.parse(block.code, block.page)
    return compile(ast.increment_lineno(tree, block.line - 1), block.page, "exec")


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_a_page_can_be_run(
    page: Path, reader: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    some = [block for block in blocks(page) if block.run]
    if find_spec("datasets") is None:
        some = [block for block in some if not any(word in block.code for word in HUB)]
    write_files(reader, "".join(block.code for block in some))
    names: dict[str, Any] = {}
    every: dict[str, Any] = {}
    for block in some:
        if block.file:
            Path(block.file).write_text(block.code, encoding="utf-8")
        elif block.language == "python":
            if block.code.startswith(("import ", "from ")):
                names = {}  # a program of its own; others go on
            exec(program(block), names)
            every |= names
        elif block.language in COMMANDS:
            for line in block.commands:
                arguments = in_smoke(line, monkeypatch)
                if arguments:
                    command(*arguments)
    for expected in FOUND.get(name_of(page), ()):
        assert eval(expected, every), expected


@pytest.mark.parametrize("page", CODE, ids=name_of)
def test_what_is_not_run_is_valid(
    page: Path, reader: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for block in blocks(page):
        assert block.language in (*COMMANDS, *OTHER, "python"), f"{block.page}:{block.line}"
        if block.language in COMMANDS and (not block.run or block.file):
            for line in block.commands:
                parse(line, monkeypatch)
        elif block.language == "python" and not block.run:
            tree = ast.parse(block.code)
            imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(imports, []), block.page, "exec"), {})
    for line in inline_commands(page):
        parse(line, monkeypatch)


def test_the_marks_of_blocks() -> None:
    """What the tests above look for is there."""
    found = [block for page in PAGES for block in blocks(page)]
    assert {block.file for block in found if block.file} == {"my_nets.py", "search.sh"}
    kinds = {(block.language, block.run) for block in found if block.language not in OTHER}
    assert kinds >= {("python", True), ("", True), ("", False)}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path, reader: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(example.read_text(encoding="utf-8"), example, "exec"), {"__name__": "__main__"})
    assert 0 < len(capsys.readouterr().out.splitlines()) < 10
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    assert page.count(f"examples/{example.name}") == 2


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        target = page.parent / path if path else page
        assert target.exists(), f"{path} is not there"
        if anchor:
            assert anchor in anchors(target), f"{path} has no #{anchor}"


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_the_rows_of_a_table_have_the_same_number_of_cells(page: Path) -> None:
    columns = 0  # of the table above a line
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        cells = len(re.findall(r"(?<!\\)\|", line)) - 1 if line.startswith("| ") else 0
        assert not (cells and columns) or cells == columns, f"{page.name}:{number}"
        columns = cells


@pytest.mark.parametrize("package", ["condense", "continual", "nas"])
def test_the_reference_has_every_public_name(package: str) -> None:
    page = (ROOT / "docs" / "api" / f"{package}.md").read_text(encoding="utf-8")
    listed = re.findall(
        rf"^\.\. auto\w+:: {package}\.(?:[a-z_]+\.)*(\w+)$", page, flags=re.MULTILINE
    )
    assert sorted(listed) == sorted(import_module(package).__all__)
