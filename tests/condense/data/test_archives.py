"""Own images: what is read, and that whatever is wrong ends in one line for the user."""

from __future__ import annotations

import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from condense.data.archives import read_npz, write_npz
from condense.data.arrays import ImageArrays, checked
from condense.data.folders import read
from condense.errors import UserError
from tests.helpers.archives import Array, archive, complaint, content, images


def constants(**changes: tuple[float, ...]) -> dict[str, Array | None]:
    """`mean` and `std` of colour images."""
    return {key: np.array(changes.get(key, (0.5, 0.5, 0.5))) for key in ("mean", "std")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"y_test": None}, "key y_test is missing; keys found: x_train, y_train, x_test"),
        ({"x_train": images(12, 8, 9, 3, dtype=complex)}, "x_train contains complex128 values"),
        ({"x_test": np.full((4, 8, 9, 3), np.nan)}, "x_test contains NaN or infinite values"),
        ({"x_train": np.full((12, 8, 9, 3), -0.5)}, "x_train contains values from -0.5 to -0.5"),
        ({"x_train": np.full((12, 8, 9, 3), 300)}, "x_train contains values from 300 to 300"),
        ({"x_train": np.array([None] * 12)}, "x_train cannot be read"),
        ({"x_train": images(12, 72)}, "x_train has shape (12, 72); images [n, height, width"),
        ({"x_train": images(12, 8, 9, 2)}, "x_train has shape (12, 8, 9, 2); images"),
        ({"x_train": images(12, 7, 9, 3)}, "x_train contains images of 7×9 pixels; at least 8"),
        ({"x_train": images(0, 8, 9, 3)}, "x_train is empty"),
        ({"x_test": images(0, 8, 9, 3)}, "x_test is empty"),
        (
            {"x_test": images(4, 8, 8, 3)},
            "x_test contains images of shape (8, 8, 3); those of x_train",
        ),
        ({"x_test": images(4, 8, 9)}, "x_test contains images of shape (8, 9, 1)"),
        (
            {"x_train": np.full((12, 8, 9, 3), 9.0), "x_test": np.full((4, 8, 9, 3), 0.5)},
            "x_test contains values up to 0.5, the other split up to 9: give both in 0..255 or",
        ),
        ({"y_train": np.zeros(12)}, "y_train contains float64 values; integer labels"),
        ({"y_train": np.zeros(12, dtype=complex)}, "y_train contains complex128 values; integer"),
        ({"y_train": np.arange(11)}, "y_train has shape (11,); one label for each of the 12"),
        ({"y_test": np.eye(4, dtype=int)}, "y_test has shape (4, 4); one label"),
        ({"y_train": np.eye(12)}, "12 images is expected, as from y.argmax(1)"),
        ({"y_test": np.array([0, 1, -1, 0])}, "y_test contains the label -1; y_train has no such"),
        ({"y_test": np.array([0, 1, 2, 10**12])}, "y_test contains the label 1000000000000; y_"),
        ({"y_test": np.array(list("0120"))}, "one of y_train and y_test contains integers"),
        ({"y_train": np.array(["a" * 201] * 12)}, "y_train contains names of more than 200"),
        ({"y_train": None, "y_test": None}, "key y_train is missing; keys found: x_train, x_test"),
        ({"class_names": np.array(["a", "b"])}, "y_train contains the label 2; there are 2 names"),
        ({"class_names": np.array(["a", "b", "a"])}, "class_names is <U1 of shape (3,); a list"),
        ({"class_names": np.arange(3)}, "class_names is int64 of shape (3,); a list"),
        ({"class_names": np.array(["a", "b", "c\nd"])}, "the class name c\\nd has bytes"),
        ({"class_names": np.array(["a", "b", "\ud800"])}, "the class name \\ud800 has bytes"),
        ({"class_names": np.array(["a", "b", "c" * 201])}, "names of more than 200 characters"),
        ({"mean": np.zeros(1)}, "mean is float64 of shape (1,); a finite float for each of the 3"),
        (constants(mean=(0, np.nan, 0)), "mean is float64 of shape (3,); a finite float"),
        (constants(mean=(0.0, 125.0, 0.0)), "mean is [0.0, 125.0, 0.0]; values for pixels"),
        (constants(std=(0.1, 0.0, 0.1)), "std is [0.1, 0.0, 0.1]; values for pixels"),
        ({"mean": np.full(3, 0.5)}, "key mean is there, std is not: give both, or none of them"),
        ({"std": np.full(3, 0.5)}, "key std is there, mean is not: give both, or none of them"),
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


def read_archive(path: Path, **changes: Array | None) -> ImageArrays:
    path.write_bytes(archive(**changes))
    return read_npz(path)


def test_without_a_test_split_a_part_of_each_class_is_set_aside(tmp_path: Path) -> None:
    found = read_archive(tmp_path / "own.npz", x_test=None, y_test=None)
    assert (len(found.x_train), found.y_test.tolist().count(0)) == (9, 1)
    assert found.source == {"split": {"test_share": 0.2, "seed": 0}}
    said = "no test images: 3 of 12, 20% of each class, become the test split (seed 0)"
    assert found.notes == (said,)
    again = read_npz(tmp_path / "own.npz")
    assert np.array_equal(found.x_test, again.x_test)
    both = np.concatenate([found.x_train, found.x_test])
    assert {image.tobytes() for image in both} == {
        image.tobytes() for image in content()["x_train"]
    }


def test_a_single_image_of_each_class_cannot_be_split(tmp_path: Path) -> None:
    changes = {"x_train": images(3, 8, 8), "y_train": np.arange(3), "x_test": None, "y_test": None}
    (tmp_path / "own.npz").write_bytes(archive(**changes))
    assert "no class has two images" in complaint(tmp_path / "own.npz")


def test_the_keys_of_medmnist(tmp_path: Path) -> None:
    given = content()
    parts = {"train": "train", "val": "test", "test": "test"}
    arrays = {f"{split}_images": given[f"x_{part}"] for split, part in parts.items()}
    arrays |= {f"{split}_labels": given[f"y_{part}"][:, None] for split, part in parts.items()}
    np.savez(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    found = read_npz(tmp_path / "bloodmnist.npz")
    for key, value in given.items():
        assert np.array_equal(getattr(found, key), value)
    assert found.notes == ("not used: val_images, val_labels",)
    for key in ("test_images", "test_labels"):
        del arrays[key]
    np.savez(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    assert read_npz(tmp_path / "bloodmnist.npz").notes == ("the test split is val_images",)


def test_test_images_without_labels_are_not_paired_with_others(tmp_path: Path) -> None:
    given = content()
    arrays = {name: given[name] for name in ("x_train", "y_train")}
    arrays |= {"x_val": given["x_test"], "val_targets": given["y_test"]}
    np.savez(tmp_path / "own.npz", **arrays, x_test=given["x_test"][::-1])
    found = read_npz(tmp_path / "own.npz")
    assert np.array_equal(found.x_test, given["x_test"])
    assert found.notes == ("not used: x_test", "the test split is x_val")


@pytest.mark.parametrize(("top", "notes"), [(1, 0), (16, 1), (63, 1), (64, 0), (255, 0)])
def test_images_that_are_nearly_black_are_said_to_be(top: int, notes: int, tmp_path: Path) -> None:
    """As sklearn's digits, from 0 to 16, or masks of a few classes; 1 is white already."""
    dark = {key: content()[key] % np.uint16(top + 1) for key in ("x_train", "x_test")}
    dark["x_test"][0, 0, 0, 0] = top
    said = f"no pixel is above {top} of 255: if that is white, give the images divided by {top}"
    assert read_archive(tmp_path / "own.npz", **dark).notes == (said,) * notes


def test_grey_images_stored_as_rgb_are_grey(tmp_path: Path) -> None:
    grey = {key: content()[key][..., :1].repeat(3, axis=3) for key in ("x_train", "x_test")}
    found = read_archive(tmp_path / "own.npz", **grey)
    assert found.shape == (1, 8, 9)
    assert found.notes == ("grey images stored as RGB: one channel is kept",)
    one_colour = {**grey, "x_test": content()["x_test"]}
    assert read_archive(tmp_path / "own.npz", **one_colour).shape == (3, 8, 9)
    assert read_archive(tmp_path / "own.npz", **grey, **constants()).shape == (3, 8, 9)


def test_classes_without_images_are_said(tmp_path: Path) -> None:
    names = np.array(["a", "b", "c", "d"])
    found = read_archive(tmp_path / "own.npz", class_names=names, y_test=np.array([1, 1, 2, 2]))
    assert found.class_names == ("a", "b", "c")
    assert found.notes == (
        "no training image of d: left out",
        "no test image of a: not tested",
    )


def test_a_packed_folder_is_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as zipped:
        zipped.writestr("cat/1.jpg", "")
    assert "unpack it, and give the folder" in complaint(tmp_path / "photos.zip")


def test_unknown_keys_are_named_as_the_archive_was_written(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", a=images(2, 8, 8), b=np.zeros(2))
    assert complaint(tmp_path / "own.npz").endswith("no key x_train; keys found: a, b")


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
        ("x_train", "|u1", (12, 10**6, 10**6, 3), "x_test contains images of shape (8, 9, 3)"),
        ("x_train", "|u1", (-1, 8, 9, 3), "x_train is empty"),
        ("class_names", "<U100000000", (3,), "names of more than 200 characters"),
        ("class_names", "<U2", (10**15,), "class_names is truncated"),
        ("x_test", "|O", (4, 8, 9, 3), "x_test cannot be read (Python objects are not loaded"),
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
    monkeypatch.setattr("condense.system.memory.available_memory", lambda: 500)
    monkeypatch.setattr("condense.data.archives.read_array", None)
    assert "of memory; 0.0 GB are free" in complaint(tmp_path / "own.npz")


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "link.npz")
    os.mkfifo(tmp_path / "pipe.npz")
    assert complaint(tmp_path / "link.npz") == "not a file"
    assert complaint(tmp_path / "pipe.npz") == "not a file"
