"""A page in headless Chromium, as a reader sees it; skipped where there is no Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 400)


@contextmanager
def opened_browser() -> Iterator[tuple[Any, list[str]]]:
    """A page of the browser, and what is said on its console, its errors included."""
    sync_api = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("there is no Chromium")
    said: list[str] = []
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        yield page, said
        chromium.close()


def check_page(path: Path, *texts: str) -> None:
    """Opens a file at two widths, and prints it.

    There is no message on the console, no request but that of the file, nothing to scroll to the
    right, and every picture is shown. The page shows the texts, and its print is not empty.
    """
    asked: list[str] = []
    with opened_browser() as (page, said):
        page.on("request", lambda request: asked.append(request.url))
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 800})
            page.goto(path.absolute().as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
            assert all(sizes)
        shown = page.inner_text("body")
        assert [text for text in texts if text not in shown] == []
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.querySelector('h1')).color") != (
            page.evaluate("getComputedStyle(document.body).backgroundColor")
        )
        assert page.pdf(format="A4").startswith(b"%PDF")
    assert said == []
    assert {url for url in asked if not url.startswith("data:")} == {path.absolute().as_uri()}
    assert path.stat().st_size < 5e6
