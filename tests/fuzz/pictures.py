"""Image sets in folders of pictures, mutated."""

from __future__ import annotations

import io
import os
import random
import struct
from pathlib import Path

import numpy as np
from PIL import Image

from . import blind

FORMATS = ("png", "bmp", "gif", "jpg", "tif", "webp", "ppm", "tga", "ico", "pcx", "jp2")
NAMES = (
    *("\udcff", "a\nb", "x" * 255, " ", "...", "-", "٣", "²", "ä", "a\u202eb", "\x1b[31m", "%s"),
    *("0" * 200, "9" * 250, "~", "e\u0301", "\u0000"[:0] + "con", "💥" * 60),
)


def draw(folder: Path, draws: random.Random) -> str:
    """Makes a set in `folder`; says what is the matter with it."""
    for split, each in (("train", 2), ("test", 1)):
        for name in "abc":
            (folder / split / name).mkdir(parents=True)
            for number in range(each):
                (folder / split / name / f"{number}.png").write_bytes(_picture("png"))
    change = draws.choice((_class, _class, _file, _odd_file, _content, _content, _size, _missing))
    return change(folder, draws)


def _picture(kind: str, size: tuple[int, int] = (8, 8), mode: str = "L") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(
        file, {"jpg": "jpeg", "jp2": "jpeg2000", "tif": "tiff"}.get(kind, kind)
    )
    return file.getvalue()


def _class(folder: Path, draws: random.Random) -> str:
    name = draws.choice(NAMES)
    for split in ("train", "test"):
        (folder / split / "a").rename(folder / split / name)
    return f"a class {name[:40]!r}"


def _file(folder: Path, draws: random.Random) -> str:
    """A picture of a strange name, which cannot be read or can."""
    name = draws.choice([name for name in NAMES if len(os.fsencode(name)) < 240]) + ".png"
    data = draws.choice((b"", b"none", _picture("png")))
    (folder / "train" / "a" / name).write_bytes(data)
    return f"a picture {name[:40]!r} of {len(data)} bytes"


def _odd_file(folder: Path, draws: random.Random) -> str:
    """What is no file where a picture is expected."""
    place = folder / draws.choice(("train/a/f.png", "train/a/0.png", "test/b/0.png", "train/b"))
    kind = draws.choice(("fifo", "folder", "loop", "dangling", "null"))
    if place.is_dir():
        for file in place.iterdir():
            file.unlink()
        place.rmdir()
    place.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to({"loop": place.name, "dangling": "nowhere", "null": os.devnull}[kind])
    return f"{place.name} a {kind}"


def _content(folder: Path, draws: random.Random) -> str:
    kind = draws.choice(FORMATS)
    data, what = blind.mutated(_picture(kind), draws)
    (folder / "train" / "a" / f"9.{kind}").write_bytes(data)
    return f"a .{kind}: {what}"


def _size(folder: Path, draws: random.Random) -> str:
    """Pictures of another size or mode, some of which say so alone."""
    declared = draws.choice(((60_000, 60_000), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1), (0, 0)))
    data = _picture("png")
    lying = data[:16] + struct.pack(">II", *declared) + data[24:]
    name, content = draws.choice(
        (
            (f"declared {declared}", lying),
            ("one pixel", _picture("png", (1, 1))),
            ("wide", _picture("png", (20_000, 8))),
            ("16 bits", _picture("png", mode="I;16")),
            ("floats", _picture("tiff", mode="F")),
            ("palette", _picture("png", mode="P")),
            ("colour", _picture("png", mode="RGB")),
            ("two levels", _picture("png", mode="1")),
        )
    )
    where = draws.choice(("one", "all"))
    for file in sorted(folder.rglob("*.png"))[: 1 if where == "one" else None]:
        file.write_bytes(content)
    return f"{where} {name}"


def _missing(folder: Path, draws: random.Random) -> str:
    gone = draws.choice(("train/a", "test/a", "test", "train", "train/b/*"))
    for file in sorted((*folder.glob(gone), *folder.glob(f"{gone}/**/*")), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    return f"without {gone}"
