"""What report.html proposes to a reader."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path


def code(page: Path) -> list[str]:
    """The blocks of code of a page."""
    text = page.read_text(encoding="utf-8")
    return [unescape(block) for block in re.findall(r"<code>(.*?)</code></pre>", text, flags=re.S)]


def commands(page: Path, start: str) -> list[str]:
    """The proposed commands that begin with `start`."""
    lines = [line for block in code(page) for line in block.splitlines()]
    return [line for line in lines if line.startswith(start)]
