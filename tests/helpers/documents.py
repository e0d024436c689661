"""The documents: their code blocks and their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from tests.helpers.processes import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
LINKED = (*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "benchmarks").glob("*.md")))

COMMANDS = ("", "bash")
"""Languages of blocks of commands; an indented block has none."""
OTHER = ("{eval-rst}", "{include}", "{literalinclude}", "{toctree}")
"""Blocks that only the site needs."""


@dataclass(frozen=True)
class Block:
    """A block of code in a document.

    Attributes:
        page: path from the root of the repository.
        line: of the first line of code, from 1.
        language: as named behind the fence.
        code: without indentation.
        run: whether it can be run; False after a comment `<!-- parsed, not run: why -->`.
        file: the name under which the page says that a reader saves it (a line `NAME`: before it).
    """

    page: str
    line: int
    language: str
    code: str
    run: bool = True
    file: str | None = None

    @property
    def commands(self) -> list[str]:
        """Its command lines; those that end with a backslash are joined, those at && divided."""
        lines = self.code.replace("\\\n", " ").splitlines()
        lines = [line for line in lines if line.strip() and not line.startswith("#")]
        return [part.strip() for line in lines for part in line.split("&&")]


def name_of(page: Path) -> str:
    """The path from the root of the repository, with slashes."""
    return page.relative_to(ROOT).as_posix()


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """All code blocks of a document: fenced, or indented by four spaces."""
    lines = page.read_text(encoding="utf-8").splitlines()
    found, number, before = [], 0, ""
    while number < len(lines):
        line, first = lines[number], number
        if line.startswith("```"):
            while lines[number + 1] != "```":
                number += 1
            code, language = lines[first + 1 : number + 1], line.strip("`").split(" ")[0]
            number += 1
            found.append(_after(before, Block(name_of(page), first + 2, language, _joined(code))))
        elif line.startswith("    ") and (not first or _ends(lines[first - 1])):
            while number + 1 < len(lines) and lines[number + 1].startswith("    "):
                number += 1
            code = [line[4:] for line in lines[first : number + 1]]
            found.append(_after(before, Block(name_of(page), first + 1, "", _joined(code))))
        if lines[number].strip():
            before = lines[number]
        number += 1
    return tuple(found)


def _joined(code: list[str]) -> str:
    return "\n".join(code) + "\n"


def _ends(line: str) -> bool:
    """Whether an indented line after this one begins a block."""
    return not line.strip() or line.endswith("-->")


def _after(before: str, block: Block) -> Block:
    """The block with what the line before it says of it."""
    named = re.search(r"`([\w.]+)`:$", before)
    run = not before.startswith("<!-- parsed, not run: ")
    return replace(block, run=run, file=named[1] if named else None)


def inline_commands(page: Path) -> Iterator[str]:
    """Commands within the text of a document, without those that leave something out; those that
    are only named ask for help."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for found in re.findall(r"`(python -m [^`]+)`", text):
        line = " ".join(found.split())
        if not re.search(r"…|\b[A-Z]{3,}\b", line):
            yield line if " --" in line else f"{line} --help"


def links(page: Path) -> Iterator[tuple[str, str]]:
    """(path, anchor) of each relative link or picture of a document."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http:", "https:", "mailto:")):
            path, _, anchor = target.partition("#")
            yield path, anchor


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of the headings of a document, as GitHub makes them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return frozenset(re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings)
