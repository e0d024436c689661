"""The site of the documents: built without a warning or a dead link, for screens of any width."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.helpers.browser import WIDTHS, opened_browser
from tests.helpers.processes import HANGS, ROOT

for library in ("sphinx", "furo", "myst_parser", "sphinx_copybutton"):
    pytest.importorskip(library)

pytestmark = pytest.mark.xdist_group("site")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", ROOT / "docs", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stderr
    return folder


@cache
def content(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_links_of_the_site_lead_somewhere(site: Path) -> None:
    dead = []
    pages = [page for page in site.rglob("*.html") if "_static" not in page.parts]
    assert len(pages) > 30
    for page in pages:
        for target in re.findall(r'(?:href|src)="([^"]+)"', content(page)):
            if re.match(r"(https?|mailto|data):", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path.partition("?")[0]).resolve() if path else page
            back = "_modules" in page.parts  # Sphinx makes links from code to another name of it
            there = file.is_file() and (not anchor or back or f'id="{anchor}"' in content(file))
            if not there:
                dead.append(f"{page.name}: {target}")
    assert dead == []


def test_pages_fit_any_screen(site: Path) -> None:
    """Nothing to scroll to the right, no error on the console, nothing from the network."""
    with opened_browser() as (page, said):
        page.on("requestfailed", lambda request: said.append(request.url))
        for path in [*site.glob("*.html"), *site.glob("api/*.html")]:
            page.goto(path.as_uri())
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 800})
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, f"{path.name} is {wide} wide at {width}"
        page.goto((site / "how-it-works.html").as_uri())
        page.wait_for_selector("mjx-container")
    assert said == []
