"""The pixels of a folder in the cache: always those that decoding would give."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from condense.data import folder_cache
from condense.data.decoding import FolderImages
from condense.data.image_data import ImageData
from condense.data.loading import load
from condense.errors import UserError
from condense.runs.cache import Cache
from condense.runs.checkpointer import Checkpointer
from condense.runs.io import write_tensors
from tests.helpers.folders import write_photos
from tests.helpers.processes import HANGS, wait_until


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """A cache in which folders of any size are kept."""
    monkeypatch.setattr(folder_cache, "SMALL_COUNT", 1)
    return Cache(tmp_path / "cache")


class Decoded:
    """Counts how often images are decoded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        original = FolderImages.decode

        def decode(images: FolderImages, progress: Checkpointer) -> Any:
            self.times += 1
            return original(images, progress)

        monkeypatch.setattr(FolderImages, "decode", decode)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    return Decoded(monkeypatch)


def assert_same(one: ImageData, other: ImageData) -> None:
    assert one.describe() == other.describe()
    assert one.source == other.source
    assert (one.class_names, one.mean, one.std) == (other.class_names, other.mean, other.std)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.root.glob("*.safetensors"))


def with_splits(root: Path) -> None:
    for split in ("train", "test"):
        write_photos(root / split)
    (root / "other").mkdir()
    (root / "train" / "cat" / "notes.pdf").touch()


def as_grey(root: Path, mode: str) -> None:
    for path in root.rglob("*.jpg"):
        with Image.open(path) as image:
            image.convert("L").convert(mode).save(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: None,
        lambda root: with_splits(root),
        lambda root: as_grey(root, "L"),
        lambda root: as_grey(root, "RGB"),
        lambda root: (root / "empty").mkdir(),
    ],
    ids=["own test split", "splits", "grey", "grey as RGB", "empty class"],
)
def test_the_same_data_and_notes_as_without(
    change: Callable[[Path], Any],
    tmp_path: Path,
    cache: Cache,
    decoded: Decoded,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos = tmp_path / "photos"
    if change.__code__.co_names != ("with_splits",):
        write_photos(photos)
    change(photos)
    plain = load(photos, size=16)
    notes = capsys.readouterr().err
    for times in (2, 2):
        assert_same(load(photos, size=16, cache=cache), plain)
        assert decoded.times == times
        assert capsys.readouterr().err == notes
    assert cache.hits == 0  # of sets


def replaced(root: Path) -> None:
    """By a file of the same size and time, as when files are renamed or unpacked."""
    old = root / "cat" / "0.bmp"
    about, new = old.stat(), root.parent / "new.bmp"
    wait_until(lambda: _now(root.parent) > about.st_ctime_ns)
    Image.new("RGB", (24, 20), (9, 99, 199)).save(new)
    os.utime(new, ns=(about.st_atime_ns, about.st_mtime_ns))
    new.replace(old)
    assert (old.stat().st_size, old.stat().st_mtime_ns) == (about.st_size, about.st_mtime_ns)


def _now(folder: Path) -> int:
    """The time that a new file has."""
    probe = folder / "probe"
    probe.unlink(missing_ok=True)
    probe.touch()
    return probe.stat().st_ctime_ns


def touched(root: Path) -> None:
    os.utime(root / "cat" / "0.jpg", ns=(1, 1))


CHANGES: dict[str, Callable[[Path], Any]] = {
    "changed": lambda root: Image.new("RGB", (24, 20), (9, 99, 199)).save(root / "cat" / "0.jpg"),
    "replaced": replaced,
    "touched": touched,
    "added": lambda root: Image.new("RGB", (24, 20)).save(root / "cat" / "new.jpg"),
    "removed": lambda root: (root / "cat" / "0.jpg").unlink(),
    "moved": lambda root: (root / "cat" / "0.jpg").rename(root / "dog" / "zero.jpg"),
    "renamed": lambda root: (root / "cat" / "0.jpg").rename(root / "cat" / "zero.jpg"),
    "class renamed": lambda root: (root / "cat").rename(root / "elk"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_folder_is_decoded_anew_and_replaces_its_entry(
    change: str, photos: Path, cache: Cache, decoded: Decoded
) -> None:
    Image.new("RGB", (24, 20)).save(photos / "cat" / "0.bmp")
    load(photos, size=16, cache=cache)
    CHANGES[change](photos)
    found = load(photos, size=16, cache=cache)
    assert decoded.times == 2
    assert len(entries(cache)) == 1
    assert_same(load(photos, size=16, cache=cache), found)
    assert decoded.times == 2
    assert_same(found, load(photos, size=16))


@pytest.mark.parametrize("part", ["DECODER", "PIL.__version__"])
def test_another_decoder_decodes_anew(
    part: str, photos: Path, cache: Cache, decoded: Decoded, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(photos, size=16, cache=cache)
    monkeypatch.setattr(f"condense.data.folder_cache.{part}", "next")
    load(photos, size=16, cache=cache)
    assert decoded.times == 2
    assert len(entries(cache)) == 1


def test_each_size_and_each_folder_has_its_entry(
    photos: Path, cache: Cache, decoded: Decoded, tmp_path: Path
) -> None:
    cases: list[dict[str, Any]] = [{"size": 16}, {"size": 8}, {"size": 16, "fit": "resize"}]
    copy = write_photos(tmp_path / "copy", per_class=7)
    for _ in range(2):
        shapes = [tuple(load(photos, cache=cache, **case).x_train.shape) for case in cases]
        assert shapes == [(10, 3, 16, 16), (10, 3, 8, 8), (10, 3, 16, 16)]
        assert len(load(copy, size=16, cache=cache).x_train) == 12
        assert decoded.times == len(entries(cache)) == 4
    assert_same(load(photos, cache=cache, **cases[2]), load(photos, **cases[2]))
    load(photos, size=np.int64(16), cache=cache)  # type: ignore[arg-type]
    assert len(entries(cache)) == 4


def flipped(entry: Path, place: int) -> None:
    content = bytearray(entry.read_bytes())
    content[place] ^= 1
    entry.write_bytes(content)


def with_other_pixels(entry: Path) -> None:
    """A file with the right key, of another shape; its digest cannot be right."""
    size = int.from_bytes(entry.read_bytes()[:8], "little")
    header = entry.read_bytes()[8 : 8 + size]
    assert b"[12,16,16,3]" in header
    entry.write_bytes(entry.read_bytes().replace(b"[12,16,16,3]", b"[12,16,3,16]"))


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "empty": lambda entry: entry.write_bytes(b""),
    "text": lambda entry: entry.write_text("no pixels"),
    "truncated": lambda entry: os.truncate(entry, entry.stat().st_size - 1),
    "longer": lambda entry: entry.write_bytes(entry.read_bytes() + b"x"),
    "pixel": lambda entry: flipped(entry, -5),
    "header": lambda entry: flipped(entry, 10),
    "shape": with_other_pixels,
    "of another program": lambda entry: write_tensors(entry, {"pixels": torch.zeros(3)}, {}),
    "without pixels": lambda entry: write_tensors(entry, {}, {"key": "1"}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_made_anew_with_at_most_one_note(
    damage: str,
    photos: Path,
    cache: Cache,
    decoded: Decoded,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = load(photos, size=16, cache=cache)
    notes = capsys.readouterr().err.splitlines()
    (entry,) = entries(cache)
    whole = entry.read_bytes()
    DAMAGES[damage](entry)
    assert_same(load(photos, size=16, cache=cache), plain)
    assert decoded.times == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-len(notes) :] == notes
    assert len(said) <= len(notes) + 1
    assert all(line.startswith(f"note: {entry} is damaged") for line in said[: -len(notes)])
    assert entry.read_bytes() == whole


def test_loaded_images_can_be_changed_without_changing_the_entry(
    photos: Path, cache: Cache
) -> None:
    as_grey(photos, "L")  # grey images need no copy: they are the mapped file
    first = load(photos, size=16, cache=cache)
    load(photos, size=16, cache=cache).x_train.zero_()
    assert_same(load(photos, size=16, cache=cache), first)


def test_a_small_folder_is_not_kept(photos: Path, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    load(photos, size=16, cache=cache)
    assert not cache.root.exists()


def test_few_large_files_are_kept(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_cache, "SMALL_BYTES", 1000)
    cache = Cache(tmp_path / "cache")
    load(photos, size=16, cache=cache)
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("reason", ["a file in the way", "full", "read-only"])
def test_without_a_cache_that_can_be_written_it_goes_on_with_one_note(
    reason: str,
    photos: Path,
    cache: Cache,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = load(photos, size=16)
    notes = capsys.readouterr().err

    def refuse(number: int) -> Callable[..., Any]:
        def raising(*arguments: object, **more: object) -> None:
            raise OSError(number, os.strerror(number))

        return raising

    if reason == "a file in the way":
        cache.root.touch()
    elif reason == "full":
        monkeypatch.setattr(Path, "replace", refuse(errno.ENOSPC))
    else:
        monkeypatch.setattr(Path, "mkdir", refuse(errno.EROFS))
    assert_same(load(photos, size=16, cache=cache), plain)
    said = capsys.readouterr().err
    assert said.endswith(notes)
    (line,) = said.removesuffix(notes).splitlines()
    assert line.startswith(f"note: {photos}: the decoded images are not cached: ")
    if reason != "a file in the way":
        assert "($CONDENSE_CACHE; or none, by --no-cache)" in line
        assert not entries(cache)
    assert not list(cache.root.glob(".tmp-*"))


@pytest.mark.parametrize("name", ["broken.jpg", "link.jpg"])
def test_an_image_that_cannot_be_read_is_the_same_error(
    name: str, photos: Path, cache: Cache
) -> None:
    path = photos / "dog" / name
    if name == "link.jpg":
        path.symlink_to(photos / "nothing.jpg")
    else:
        path.write_text("no image")
    messages = []
    for used in (None, cache, cache):
        with pytest.raises(UserError) as caught:
            load(photos, size=16, cache=used)
        messages.append(str(caught.value))
    assert len(set(messages)) == 1
    assert messages[0].startswith(f"{path}: not a readable image")
    assert not entries(cache)


class Reports(Checkpointer):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int]] = []

    def report(self, done: int, total: int, **metrics: float) -> None:
        self.seen.append((done, total))


def test_reports_come_while_images_are_decoded_and_else_none(photos: Path, cache: Cache) -> None:
    first, second = Reports(), Reports()
    load(photos, size=16, cache=cache, progress=first)
    load(photos, size=16, cache=cache, progress=second)
    assert first.seen == sorted(first.seen)
    assert first.seen[-1] == (12, 12)
    assert second.seen == []


def test_two_processes_decode_it_once(photos: Path, tmp_path: Path) -> None:
    code = """
        import sys
        from condense.data import folder_cache
        from condense.data.decoding import FolderImages
        from condense.data.loading import load
        from condense.runs.cache import Cache

        folder_cache.SMALL_COUNT = 1
        original = FolderImages.decode

        def decode(images, progress):
            print("decoded")
            return original(images, progress)

        FolderImages.decode = decode
        print(load(sys.argv[1], size=16, cache=Cache(sys.argv[2])).describe())
        """
    command = [sys.executable, "-c", textwrap.dedent(code), str(photos), str(tmp_path / "cache")]
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    found = [process.communicate(timeout=HANGS) for process in processes]
    outputs = sorted(output for output, _ in found)
    about = f"{load(photos, size=16).describe()}\n"
    assert outputs == sorted([f"decoded\n{about}", about]), found
