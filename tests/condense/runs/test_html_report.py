"""report.html: a page of its own, without network."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condense.runs.html_report import (
    LARGEST_PICTURE,
    REPORT,
    Bar,
    Cell,
    Code,
    Picture,
    Report,
    Section,
    Strips,
    Table,
    Text,
    data_url,
    figure_html,
    write,
)
from tests.helpers.browser import check_page


def noise(width: int, height: int) -> Image.Image:
    """A picture that no format makes small."""
    draws = np.random.default_rng(0)
    return Image.fromarray(draws.integers(0, 256, (height, width, 3), dtype=np.uint8))


def a_report() -> Report:
    wide = "x" * 300
    blocks = [
        Text("a paragraph"),
        Code("to copy:", f"python -m condense {wide}"),
        Picture(noise(900, 700), "a picture"),
        Strips([(f"class {number} <b>", noise(300, 32)) for number in range(12)], "12 classes"),
        Table([["T1", Cell("50.0 %", 0.5), wide], ["T2", "–", "2"]], ["after", "a", "b"]),
        Table([["setting", "7"]], folded="All settings"),
    ]
    return Report(
        title="<script>alert(1)</script>",
        command="python -m condense run",
        figure="48.5 ± 0.2 %",
        about="what it is",
        bars=[Bar("this set", 0.485, "48.5 %", main=True), Bar("random", 0.3, "30.0 %")],
        note="a note",
        sections=[Section("One of each", blocks)],
    )


def test_a_page_in_a_browser(tmp_path: Path) -> None:
    write(tmp_path, a_report())
    check_page(tmp_path / REPORT, "<script>alert(1)</script>", "48.5 ± 0.2 %", "class 3 <b>", "T2")


def test_the_same_report_is_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, a_report())
    assert (tmp_path / "a" / REPORT).read_bytes() == (tmp_path / "b" / REPORT).read_bytes()


def decoded(url: str) -> tuple[str, bytes]:
    kind, _, content = url.partition(";base64,")
    return kind, base64.b64decode(content)


def test_a_file_is_embedded_as_it_is(tmp_path: Path) -> None:
    noise(20, 10).save(tmp_path / "a.png")
    expected = ("data:image/png", (tmp_path / "a.png").read_bytes())
    assert decoded(data_url(tmp_path / "a.png")) == expected


@pytest.mark.parametrize("size", [(2000, 1000), (400, 3000)])
def test_a_large_picture_becomes_smaller(size: tuple[int, int]) -> None:
    kind, content = decoded(data_url(noise(*size)))
    assert kind == "data:image/jpeg"
    assert len(content) <= LARGEST_PICTURE
    with Image.open(io.BytesIO(content)) as image:
        assert image.width / image.height == pytest.approx(size[0] / size[1], rel=0.01)


def test_a_figure_for_a_notebook() -> None:
    html = figure_html(noise(3, 2), "a & b")
    assert "a &amp; b" in html
    assert "data:image/png;base64," in html
