"""report.html: one file that shows a run in any browser, without network.

Each command describes its run as a `Report` of sections and blocks; the page is rendered from
`templates/report.html`. It contains no times, so a resumed run writes the same bytes. Pictures are
part of the file. jinja2 and PIL are imported only when a page is rendered.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from condense.runs.io import atomic_write

if TYPE_CHECKING:
    from jinja2 import Environment
    from PIL import Image

REPORT = "report.html"
LARGEST_PICTURE = 1 << 20
"""Bytes of an embedded picture at most, so that a report with three of them has less than 5 MB."""
_WIDEST = 1600


@dataclass(frozen=True)
class Bar:
    """A line of the comparison at the top of the page.

    Attributes:
        value: from 0 to 1, the length of the bar.
        text: the value as text.
        main: whether it is the result of the run, not a baseline.
    """

    label: str
    value: float
    text: str
    main: bool = False


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class Code:
    """Code or commands to copy, with a line about them."""

    kind: ClassVar[str] = "code"
    about: str
    code: str


@dataclass(frozen=True)
class Picture:
    """A picture: a file, or an image in memory."""

    kind: ClassVar[str] = "picture"
    image: Path | Image.Image
    caption: str


@dataclass(frozen=True)
class Strips:
    """Small images of a set: for each class its name and a row of images."""

    kind: ClassVar[str] = "strips"
    strips: Sequence[tuple[str, Image.Image]]
    caption: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table with a background; `shade` is from 0 to 1."""

    text: str
    shade: float

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        rows: of equal length; the first cell of each is its heading.
        header: headings of the columns; empty: none.
        folded: if not empty, only this line is shown until the reader opens the table.
    """

    kind: ClassVar[str] = "table"
    rows: Sequence[Sequence[str | Cell]]
    header: Sequence[str] = ()
    folded: str = ""


Block = Text | Code | Picture | Strips | Table


@dataclass(frozen=True)
class Section:
    """A heading and what is below it."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """The content of a page.

    Attributes:
        title: what was run, in a few words.
        command: the command that made it.
        figure: the result as text, such as `48.5 ± 0.2 %`.
        about: a sentence that says what the figure is.
        bars: the figure beside its baselines; may be empty.
        note: about the baselines.
    """

    title: str
    command: str
    figure: str
    about: str
    bars: Sequence[Bar] = ()
    note: str = ""
    sections: Sequence[Section] = field(default_factory=tuple)


def write(folder: Path, report: Report) -> None:
    """Write report.html in the folder of a run, atomically.

    Raises:
        UserError: it cannot be written.
    """
    page = _environment().get_template(REPORT).render(report=report)
    with atomic_write(folder / REPORT) as temporary:
        temporary.write_text(page + "\n", encoding="utf-8")


def figure_html(image: Image.Image, caption: str) -> str:
    """A picture with a caption, for a notebook."""
    template = _environment().get_template("figure.html")
    return template.render(picture=Picture(image, caption))


def data_url(picture: Path | Image.Image) -> str:
    """A PNG file, or an image, as a `data:` URL of a PNG.

    A picture of more than `LARGEST_PICTURE` becomes a JPEG, and smaller until it fits.
    """
    content = picture.read_bytes() if isinstance(picture, Path) else _encoded(picture, "PNG")
    kind = "png"
    if len(content) > LARGEST_PICTURE:
        from PIL import Image

        kind, content = "jpeg", _smaller(Image.open(io.BytesIO(content)))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _smaller(image: Image.Image) -> bytes:
    image = image.convert("RGB")
    image.thumbnail((_WIDEST, 4 * _WIDEST))
    while len(content := _encoded(image, "JPEG")) > LARGEST_PICTURE:
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)))
    return content


def _encoded(image: Image.Image, kind: str) -> bytes:
    content = io.BytesIO()
    image.save(content, kind)
    return content.getvalue()


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("condense.runs"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_url"] = data_url
    return environment
