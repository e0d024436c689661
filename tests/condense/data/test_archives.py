"""Own images: what is read, and that whatever is wrong ends in one line for the user."""

from __future__ import annotations

import io
import os
import socket
import struct
import tempfile
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from condense.data.archives import read_npz, write_npz
from condense.data.arrays import checked
from condense.data.folders import read
from condense.errors import UserError

Array = npt.NDArray[Any]


def content() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (12, 8, 9, 3)).astype(np.uint8),
        "y_train": np.arange(12) % 3,
        "x_test": rng.integers(0, 256, (4, 8, 9, 3)).astype(np.uint8),
        "y_test": np.array([2, 1, 0, 0]),
    }


def archive(**changes: Array | None) -> bytes:
    """An archive with these keys changed, or left out where they are None."""
    changed = {key: value for key, value in {**content(), **changes}.items() if value is not None}
    file = io.BytesIO()
    np.savez(file, **changed)  # type: ignore[arg-type]
    return file.getvalue()


def complaint(path: Path) -> str:
    """What reading `path` says; one line that begins with the path."""
    with pytest.raises(UserError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path)).removeprefix(": ")


def images(*shape: int, dtype: Any = np.uint8) -> Array:
    return np.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"y_test": None}, "key y_test is missing; keys found: x_train, y_train, x_test"),
        ({"x_train": images(12, 8, 9, 3, dtype=float)}, "x_train holds float64 values; uint8"),
        ({"x_test": np.full((4, 8, 9, 3), np.nan)}, "x_test holds float64 values; uint8"),
        ({"x_train": images(12, 8, 9, 3, dtype=int)}, "x_train holds int64 values; uint8"),
        ({"x_train": np.array([None] * 12)}, "x_train cannot be read"),
        ({"x_train": images(12, 72)}, "x_train has shape (12, 72); images [n, height, width"),
        ({"x_train": images(12, 8, 9, 2)}, "x_train has shape (12, 8, 9, 2); images"),
        ({"x_train": images(12, 3, 8, 9)}, "x_train has shape (12, 3, 8, 9); images"),
        ({"x_train": images(12, 7, 9, 3)}, "x_train holds images of 7×9 pixels; at least 8"),
        ({"x_train": images(0, 8, 9, 3)}, "x_train is empty"),
        ({"x_test": images(0, 8, 9, 3)}, "x_test is empty"),
        (
            {"x_test": images(4, 8, 8, 3)},
            "x_test holds images of shape (8, 8, 3); those of x_train",
        ),
        ({"x_test": images(4, 8, 9)}, "x_test holds images of shape (8, 9, 1)"),
        ({"y_train": np.zeros(12)}, "y_train holds float64 values; integer labels"),
        ({"y_train": np.zeros(12, dtype=bool)}, "y_train holds bool values; integer labels"),
        ({"y_train": np.arange(11)}, "y_train has shape (11,); one label for each of the 12"),
        ({"y_test": np.eye(4, dtype=int)}, "y_test has shape (4, 4); one label"),
        ({"y_test": np.array([0, 1, -1, 0])}, "y_test holds the label -1"),
        ({"y_train": np.arange(12, dtype=np.uint64) + 2**63}, "y_train holds the label 92233"),
        ({"y_train": np.arange(12) % 3 * 2}, "y_train has no image of class 1; labels 0..4"),
        ({"y_train": np.arange(12) % 3 + 1}, "y_train has no image of class 0; labels 0..3"),
        ({"y_test": np.array([0, 1, 2, 3])}, "y_train has no image of class 3"),
        ({"y_test": np.array([0, 1, 2, 10**12])}, "y_train has no image of class 3"),
        ({"class_names": np.array(["a", "b"])}, "y_train holds the label 2; there are 2 names"),
        ({"class_names": np.array(list("abcd"))}, "y_train has no image of class 3"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names is <U1 of shape (3,); a list"),
        ({"class_names": np.arange(3)}, "class_names is int64 of shape (3,); a list"),
        ({"class_names": np.array(["a", "b", "c\nd"])}, "the class name c\\nd has bytes"),
        ({"class_names": np.array(["a", "b", "\ud800"])}, "the class name \\ud800 has bytes"),
        ({"class_names": np.array(["a", "b", "c" * 201])}, "names of more than 200 characters"),
        ({"class_names": np.arange(300_000).astype(str)}, "y_train has no image of class 3"),
        ({"mean": np.zeros(1)}, "mean is float64 of shape (1,); a finite float for each of the 3"),
        ({"mean": np.array([0, np.nan, 0])}, "mean is float64 of shape (3,); a finite float"),
        ({"mean": np.array([0.0, 125.0, 0.0])}, "mean is [0.0, 125.0, 0.0]; values for pixels"),
        ({"std": np.array([0.1, 0.0, 0.1])}, "std is [0.1, 0.0, 0.1]; values for pixels"),
    ],
)
def test_what_is_wrong_is_said(
    changes: dict[str, Array | None], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "own.npz").write_bytes(archive(**changes))
    assert expected in complaint(tmp_path / "own.npz")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    trap = Trap(str(tmp_path / "sprung"))
    np.savez(tmp_path / "own.npz", **{**content(), "x_train": np.array([trap])})  # type: ignore[arg-type]
    assert "x_train cannot be read" in complaint(tmp_path / "own.npz")
    np.save(tmp_path / "bare.npy", np.array([trap]), allow_pickle=True)
    complaint(tmp_path / "bare.npy")
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.mkdir, (self.path,)


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    assert complaint(path) == "no such file or folder"
    path.write_bytes(b"")
    assert "cannot be read" in complaint(path)
    path.write_bytes(b"not an archive")
    assert "cannot be read" in complaint(path)
    path.write_bytes(archive()[:-30])
    assert "truncated" in complaint(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert "a bare array" in complaint(path)
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("x_train", "text")
    assert "x_train" in complaint(path)


def test_grey_images_may_leave_out_the_last_axis(tmp_path: Path) -> None:
    changes = {"x_train": content()["x_train"][..., 0], "x_test": content()["x_test"][..., 0]}
    (tmp_path / "own.npz").write_bytes(archive(**changes))
    assert read(tmp_path / "own.npz").shape == (1, 8, 9)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64])
def test_any_integer_labels_will_do(dtype: Any, tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(archive(y_train=content()["y_train"].astype(dtype)))
    labels = read(tmp_path / "own.npz").y_train
    assert labels.dtype == np.int64
    assert np.array_equal(labels, content()["y_train"])


def test_a_test_split_may_lack_a_class(tmp_path: Path) -> None:
    (tmp_path / "own.npz").write_bytes(archive(y_test=np.zeros(4, dtype=int)))
    assert read(tmp_path / "own.npz").classes == 3


def test_write_and_read_again(tmp_path: Path) -> None:
    written = replace(
        checked(content(), "made"),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        class_names=("a", "b", "ç"),
    )
    path = tmp_path / "new" / "own.npz"
    write_npz(path, written)
    again = read_npz(path)
    assert [file.name for file in path.parent.iterdir()] == ["own.npz"]
    assert (again.mean, again.std, again.class_names) == (
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
        ("a", "b", "ç"),
    )
    for key, value in content().items():
        assert np.array_equal(getattr(again, key), value)


def test_a_root_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write"):
        write_npz(tmp_path / "file" / "own.npz", checked(content(), "made"))


def survives(data: bytes, path: Path) -> None:
    """The bytes are read as a valid set, or refused in one line; nothing else is raised."""
    path.write_bytes(data)
    try:
        found = read_npz(path)
    except UserError:
        assert complaint(path)
        return
    assert found.x_train.dtype == found.x_test.dtype == np.uint8
    assert found.x_train.shape[1:] == found.x_test.shape[1:]
    assert len(found.y_train) == len(found.x_train)
    assert set(found.y_train.tolist()) == set(range(found.classes))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "own.npz"


@given(st.floats(0, 1))
def test_fuzz_truncation(scratch: Path, share: float) -> None:
    whole = archive()
    survives(whole[: int(share * len(whole))], scratch)


@settings(max_examples=300)
@given(st.data())
def test_fuzz_flipped_bytes(scratch: Path, data: st.DataObject) -> None:
    whole = bytearray(archive(x_train=images(12, 8, 9), x_test=images(4, 8, 9)))
    places = st.integers(0, len(whole) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=20)):
        whole[place] = data.draw(st.integers(0, 255))
    survives(bytes(whole), scratch)


# In the order of the archive; the checksums would otherwise hide what is wrong inside.
@settings(max_examples=200)
@given(st.data())
def test_fuzz_headers_of_the_arrays(scratch: Path, data: st.DataObject) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        for key, value in content().items():
            plain = io.BytesIO()
            np.save(plain, value)
            member = bytearray(plain.getvalue())
            for place in data.draw(st.lists(st.integers(0, 127), max_size=2)):
                member[place] = data.draw(st.integers(0, 255))
            zipped.writestr(f"{key}.npy", bytes(member))
    survives(file.getvalue(), scratch)


DTYPES = st.sampled_from(["u1", "i1", "i8", "u8", "f4", "f8", "?", "U3", "S2", "M8[s]", "c8"])
ANYTHING = DTYPES.flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=13))
)
KEYS = ["x_train", "y_train", "x_test", "y_test", "mean", "std", "class_names", "other"]


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(KEYS), st.none() | ANYTHING, min_size=1))
def test_fuzz_dtypes_and_shapes(scratch: Path, changes: dict[str, Array | None]) -> None:
    survives(archive(**changes), scratch)


@given(
    st.lists(st.integers(-2, 4), min_size=12, max_size=12),
    st.lists(st.integers(-2, 4), min_size=4, max_size=4),
)
def test_fuzz_labels(scratch: Path, train: list[int], test: list[int]) -> None:
    survives(archive(y_train=np.array(train), y_test=np.array(test)), scratch)


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
    picture(folder(tmp_path) / "test" / "9" / "2.gif", "P")
    assert read(tmp_path).shape == (3, 8, 9)


def test_what_is_no_picture_is_passed_over(tmp_path: Path) -> None:
    (folder(tmp_path) / "train" / "9" / "notes.txt").write_text("no picture")
    (tmp_path / "train" / "9" / ".hidden.png").write_text("no picture")
    (tmp_path / "train" / ".hidden").mkdir()
    assert len(read(tmp_path).x_train) == 2


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    assert complaint(tmp_path).startswith("/train: no such folder; train/CLASS/*")
    (tmp_path / "train").mkdir()
    assert "train: no folders in it" in complaint(tmp_path)
    (tmp_path / "train" / "9").mkdir()
    picture(tmp_path / "test" / "9" / "1.png")
    assert "train: no image files" in complaint(tmp_path)
    folder(tmp_path)
    picture(tmp_path / "test" / "11" / "1.png")
    assert "test/11: a class without a folder" in complaint(tmp_path)


def test_a_class_without_training_images(tmp_path: Path) -> None:
    (folder(tmp_path) / "train" / "10" / "1.png").unlink()
    assert "no image of class 1" in complaint(tmp_path)


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    odd = picture(folder(tmp_path) / "test" / "9" / "2.png", size=(10, 8))
    assert complaint(tmp_path).startswith(f"/{odd.relative_to(tmp_path)}: 10×8 pixels, but ")


def test_a_damaged_picture(tmp_path: Path) -> None:
    broken = folder(tmp_path) / "train" / "9" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    assert complaint(tmp_path).startswith("/train/9/1.png: not a readable image")


def test_a_picture_of_sixteen_bits(tmp_path: Path) -> None:
    picture(folder(tmp_path) / "train" / "9" / "1.png", "I;16")
    assert "8 bits per channel are expected" in complaint(tmp_path)


def claiming(key: str, dtype: str, shape: tuple[int, ...], size: int | None = None) -> bytes:
    """An archive in which one array's header says so, and its values are zero bytes."""
    file = io.BytesIO(archive(**{key: None}))
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as zipped:
        member = io.BytesIO()
        said = {"descr": dtype, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, said)
        zipped.writestr(f"{key}.npy", member.getvalue() + bytes(size or 0))
    return file.getvalue()


@pytest.mark.parametrize(
    ("key", "dtype", "shape", "said"),
    [
        ("mean", "<f8", (3 * 10**9,), "mean is float64 of shape (3000000000,)"),
        ("y_train", "<i8", (10**12,), "y_train has shape (1000000000000,)"),
        ("x_train", "|u1", (10**12, 8, 9, 3), "y_train has shape (12,); one label for each of"),
        ("x_train", "|u1", (12, 10**6, 10**6, 3), "x_test holds images of shape (8, 9, 3)"),
        ("x_train", "|u1", (-1, 8, 9, 3), "x_train is empty"),
        ("class_names", "<U100000000", (3,), "names of more than 200 characters"),
        ("class_names", "<U2", (10**15,), "class_names is truncated"),
        ("x_test", "|O", (4, 8, 9, 3), "x_test cannot be read (Python objects are not loaded)"),
    ],
)
def test_a_header_is_refused_before_anything_is_read(
    key: str,
    dtype: str,
    shape: tuple[int, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("condense.data.archives.read_array", None)
    (tmp_path / "own.npz").write_bytes(claiming(key, dtype, shape))
    assert said in complaint(tmp_path / "own.npz")


def test_what_memory_cannot_hold_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.npz").write_bytes(archive())
    folder(tmp_path / "pictures")
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 500)
    with monkeypatch.context() as patch:
        patch.setattr("condense.data.archives.read_array", None)
        assert "of memory, of which 0.0 GB are free" in complaint(tmp_path / "own.npz")
    assert "of memory" in complaint(tmp_path / "pictures")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "link.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    assert complaint(tmp_path / "link.npz") == "not a file"
    assert complaint(tmp_path / "pipe.npz") == "not a file"


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing", "link to itself", "socket"])
def test_a_picture_that_is_no_file(kind: str, tmp_path: Path) -> None:
    odd = folder(tmp_path) / "train" / "9" / "0.png"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "folder":
        odd.mkdir()
    elif kind == "socket":
        server = socket.socket(socket.AF_UNIX)
        # A short path, because that of a socket has at most 107 bytes.
        short = Path(tempfile.mkdtemp(dir="/tmp")) / "s"
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
    assert len(read(tmp_path).x_train) == 4
