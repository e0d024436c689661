"""`python -m condense export` as a user types it."""

from __future__ import annotations

import numpy
import pytest


def test_a_set_of_the_zoo_and_a_file(command, tmp_path) -> None:
    said = command("condense", "export", "mnist-dsa-1", "--to", "npz").stdout
    assert said.splitlines() == [
        "mnist-dsa-1.npz: 10 images of 10 classes",
        '  load it: numpy.load("mnist-dsa-1.npz")',
    ]
    command("condense", "zoo", "mnist-dsa-1", "--out", "own.safetensors")
    said = command("condense", "export", "own.safetensors", "--to", "folder").stdout
    assert "rounded to 8 bits" in said
    assert "cut off at black or white" in said
    assert len(list((tmp_path / "own-folder" / "train").iterdir())) == 10


def test_files_for_pytorch_are_sets_too(command, tmp_path) -> None:
    command("condense", "export", "mnist-dsa-1", "--to", "pt", "--out", "ours.pt")
    command("condense", "export", "ours.pt", "--to", "npz")
    command("condense", "export", "mnist-dsa-1", "--to", "npz")
    with numpy.load(tmp_path / "ours.npz") as one, numpy.load(tmp_path / "mnist-dsa-1.npz") as two:
        assert all((one[name] == two[name]).all() for name in two)
        assert one.files == two.files


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.safetensors", "--to", "npz"), "no such file"),
        (("mnist-dsa-1", "--to", "hdf5"), "invalid choice 'hdf5'"),
        (("mnist-dsa-1",), "--to"),
        (("mnist-dsa-1", "--to", "folder", "--out", "cache"), "choose another --out"),
        (("mnist-dsa-1", "--to", "pt", "--out", "cache"), "choose another --out"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, arguments, message) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "x").touch()
    done = command("condense", "export", *arguments, code=2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
