"""What report.html proposes to a reader."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path


def headed_code(page: Path) -> list[tuple[str, str]]:
    """The blocks of code of a page, each after the line above it."""
    text = page.read_text(encoding="utf-8")
    blocks = r"<p>([^<]*)</p>\s*<pre[^>]*><code>(.*?)</code></pre>"
    found = re.findall(blocks, text, flags=re.S)
    assert len(found) == text.count("</code></pre>")
    return [(unescape(line), unescape(block)) for line, block in found]


def code(page: Path) -> list[str]:
    """The blocks of code of a page."""
    return [block for _, block in headed_code(page)]


def commands(page: Path, start: str) -> list[str]:
    """The proposed commands that begin with `start`."""
    lines = [line for block in code(page) for line in block.splitlines()]
    return [line for line in lines if line.startswith(start)]
