"""Folders of images: what is read, and what is refused with one line."""

from __future__ import annotations

import os
import socket
import struct
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from condense.data.folders import read
from tests.helpers.archives import complaint


def picture(path: Path, mode: str = "L", size: tuple[int, int] = (9, 8), colour: Any = 7) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def folder(path: Path) -> Path:
    for split in ("train", "test"):
        for name in ("10", "9"):
            picture(path / split / name / "1.png", colour=int(name))
    return path


def test_grey_folder_with_numbers_for_names(tmp_path: Path) -> None:
    found = read(folder(tmp_path))
    assert found.class_names == ("9", "10")
    assert found.shape == (1, 8, 9)
    assert found.x_train[:, 0, 0, 0].tolist() == [9, 10]


def test_one_colour_picture_makes_all_colour(tmp_path: Path) -> None:
    picture(folder(tmp_path) / "test" / "9" / "2.png", "RGB", colour=(1, 2, 3))
    assert read(tmp_path).shape == (3, 8, 9)


def test_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    (folder(tmp_path) / "train" / "9" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "9" / ".hidden.png").write_text("no picture")
    (tmp_path / "train" / ".hidden").mkdir()
    assert len(read(tmp_path).x_train) == 2


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    assert complaint(tmp_path).startswith("no folders in it; a folder of images for each class")
    picture(tmp_path / "1.png")
    assert complaint(tmp_path).startswith("images, but no folders in it")
    (tmp_path / "train").mkdir()
    assert "train: no folders in it" in complaint(tmp_path)
    (tmp_path / "train" / "9").mkdir()
    picture(tmp_path / "test" / "9" / "1.png")
    assert "train: no image files" in complaint(tmp_path)
    folder(tmp_path)
    picture(tmp_path / "test" / "11" / "1.png")
    assert "test/11: class 11 has test images, but none to train" in complaint(tmp_path)


def test_a_class_without_training_images(tmp_path: Path) -> None:
    (folder(tmp_path) / "train" / "10" / "1.png").unlink()
    assert "test/10: class 10 has test images, but none to train" in complaint(tmp_path)


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    picture(folder(tmp_path) / "test" / "9" / "2.png", size=(100, 80))
    assert complaint(tmp_path) == (
        "images of 2 sizes, 9×8 to 100×80: add --size 16 to make all 16×16 (in Python size=16)"
    )
    assert read(tmp_path, size=16).shape == (1, 16, 16)


def test_pictures_that_are_too_small(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / str(number % 2) / f"{number}.png", size=(40, 7))
    assert complaint(tmp_path) == (
        "images of 7×40 pixels; at least 8 a side are expected: add --size 8 (in Python size=8)"
    )
    assert read(tmp_path, size=8).shape == (1, 8, 8)


def test_a_damaged_picture(tmp_path: Path) -> None:
    broken = folder(tmp_path) / "train" / "9" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert complaint(tmp_path).startswith("/train/9/1.png: not a readable image")


def test_a_picture_of_sixteen_bits(tmp_path: Path) -> None:
    picture(folder(tmp_path) / "train" / "9" / "1.png", "I;16")
    assert "8 bits per channel are expected" in complaint(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link to nothing", "link to itself", "socket"])
def test_a_picture_that_is_no_file(kind: str, tmp_path: Path) -> None:
    odd = folder(tmp_path) / "train" / "9" / "0.png"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        # A short path, because that of a socket has at most 107 bytes.
        short = Path(tempfile.mkdtemp()) / "s"
        server.bind(str(short))
        odd.symlink_to(short)
    else:
        odd.symlink_to(odd if kind == "link to itself" else tmp_path / "nothing.png")
    assert complaint(tmp_path) == "/train/9/0.png: not a readable image (no file)"


def test_a_bad_picture_with_an_odd_name_is_one_line(tmp_path: Path) -> None:
    (folder(tmp_path) / "train" / "9" / "2\n\udcff.png").write_bytes(b"no picture")
    assert complaint(tmp_path).startswith("/train/9/2\\n\\udcff.png: not a readable image")


@pytest.mark.parametrize("name", ["a\udcff", "a\nb", "a\x1b[31m", "a" * 201])
def test_a_class_folder_whose_name_cannot_be_written(name: str, tmp_path: Path) -> None:
    picture(folder(tmp_path) / "train" / name / "1.png")
    assert complaint(tmp_path).startswith("/train: the class name a")


def test_a_picture_of_billions_of_pixels(tmp_path: Path) -> None:
    """Its header says so: a header is all that there is."""
    for side in (10_000, 65_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        chunks = b""
        for chunk in (b"IHDR" + header, b"IDAT" + zlib.compress(bytes(10**6)), b"IEND"):
            length, checksum = (struct.pack(">I", n) for n in (len(chunk) - 4, zlib.crc32(chunk)))
            chunks += length + chunk + checksum
        (folder(tmp_path) / "train" / "10" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
        assert "not a readable image (Image size" in complaint(tmp_path)


def test_pictures_with_frames_and_rotation(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 8), shade) for shade in (1, 2)]
    path = folder(tmp_path) / "train" / "9" / "2.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (9, 8), 5).save(tmp_path / "train" / "9" / "3.jpg", exif=exif)
    assert "images of 2 sizes, 8×9 to 9×8" in complaint(tmp_path)
    (tmp_path / "train" / "9" / "3.jpg").rename(tmp_path / "train" / "9" / "3.txt")
    assert len(read(tmp_path).x_train) == 3


def test_a_rotated_photo_is_turned(tmp_path: Path) -> None:
    """Tag 6: the first row of the file is the right column of the photo."""
    turned = np.zeros((8, 16, 3), dtype=np.uint8)
    turned[0, :, 0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for split in ("train", "test"):
        path = tmp_path / split / "a" / "1.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(turned).save(path, exif=exif)
    found = read(tmp_path)
    assert found.shape == (3, 16, 8)
    assert (found.x_train[0, :, -1, 0] == 255).all()
    assert not found.x_train[0, :, :-1].any()


def test_pictures_larger_than_the_free_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path)
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 500)
    assert "of memory" in complaint(tmp_path)
