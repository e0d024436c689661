from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import ANY

import pytest
import torch
from safetensors import safe_open

from condense.errors import UserError
from condense.runs.csv_log import CSVLog
from condense.runs.io import (
    atomic_write,
    read_json,
    read_tensors,
    read_text,
    write_json,
    write_safetensors,
    write_tensors,
)
from tests.helpers.processes import python


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_atomic_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "set.npz"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert names(tmp_path) == {"set.npz"}
    assert path.read_text() == "old"


def test_atomic_write_keeps_the_suffix_and_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with atomic_write(tmp_path / "new" / "picture.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path / "new"
        temporary.touch()
    made = tmp_path / "new" / "picture.png"
    assert made.stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_who_is_reading_the_old_file_sees_it_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"old": 1})
    with (tmp_path / "x.json").open() as reader:
        write_json(tmp_path / "x.json", {"new": 2})
        assert json.load(reader) == {"old": 1}
    assert read_json(tmp_path / "x.json") == {"new": 2}


def test_a_full_disk_is_said_in_one_line_and_leaves_the_old_files(tmp_path: Path) -> None:
    # A limit on the size of files is the part of a full disk that needs no rights to set up.
    write_json(tmp_path / "summary.json", {"accuracy": 0.5})
    CSVLog(tmp_path / "history.csv").append(1, {"loss": 1.0})
    done = python(
        """
        import resource, sys
        from pathlib import Path
        from condense.errors import UserError
        from condense.runs.io import write_json
        from condense.runs.csv_log import CSVLog
        folder = Path(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_json(folder / "summary.json", ["x" * 2000])
        except UserError as error:
            print(error)
        history = CSVLog(folder / "history.csv")
        try:
            for step in range(2, 1000):
                history.append(step, {"loss": 0.5})
        except UserError as error:
            print(error)
        """,
        tmp_path,
    )
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"no space left to write {tmp_path / 'summary.json'}",
        f"no space left to write {tmp_path / 'history.csv'}",
    ], done.stderr
    assert "--out" in lines[0]
    assert read_json(tmp_path / "summary.json") == {"accuracy": 0.5}
    assert names(tmp_path) == {"summary.json", "history.csv"}


def test_a_folder_that_cannot_be_made_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/run"):
        write_json(tmp_path / "file" / "run" / "x.json", {})


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    """Nor /dev/null, if the user is root."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match=f"cannot write {pipe}: it is not a file"):
        write_json(pipe, {})
    assert pipe.is_fifo()


def test_of_a_link_the_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target.json", tmp_path / "link.json"
    link.symlink_to(target)
    for value in (1, 2):  # a new target, and one that exists
        write_json(link, {"value": value})
        assert link.is_symlink()
        assert read_json(target) == {"value": value}
    assert names(tmp_path / "folder") == {"target.json"}


def test_one_flipped_bit_in_a_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_tensors(path, {"images": torch.ones(9)}, {"name": "nine"})
    whole = path.read_bytes()
    tensors, metadata = read_tensors(path)
    assert torch.equal(tensors["images"], torch.ones(9))
    write_tensors(path, tensors, metadata)
    assert path.read_bytes() == whole
    for place in (whole.index(b"nine"), len(whole) - 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(UserError, match="is damaged"):
            read_tensors(path)
    start = 8 + int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8:start])
    del header["__metadata__"]["digest"]  # as in the files of other programs
    write_safetensors(path, header, memoryview(whole)[start:])
    assert read_tensors(path)[1] == {"name": "nine"}


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_a_folder_is_not_written_as_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="it is a folder"), atomic_write(name):
        pass
    assert names(tmp_path) == set()


def test_json_is_strict_and_ends_in_a_newline(tmp_path: Path) -> None:
    value = {"b": (1, 2.5), "a": float("nan"), "path": Path("x"), "t": torch.tensor([1, 2])}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert list(json.loads(text).items()) == [
        ("b", [1, 2.5]),
        ("a", None),
        ("path", "x"),
        ("t", [1, 2]),
    ]


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\xff", "[" * 100_000])
def test_damaged_json_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"^[^\n]*config.json is damaged[^\n]*$"):
        read_json(path)


def test_the_same_tensors_and_metadata_give_the_same_bytes(tmp_path: Path) -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.tensor([1, 2])}
    metadata = {letter: f"{letter} — “quoted”" for letter in "hgfedcba"}
    files = []
    for _ in range(10):  # the library alone would shuffle eight entries
        write_tensors(tmp_path / "x.safetensors", tensors, metadata)
        files.append((tmp_path / "x.safetensors").read_bytes())
    assert len(set(files)) == 1
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        assert {**metadata, "digest": ANY} == file.metadata()
        assert torch.equal(file.get_tensor("b"), tensors["b"])
        assert torch.equal(file.get_tensor("a"), tensors["a"])


def test_a_text_is_read_with_its_line_ends(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes("a,b\r\nü,1\n".encode())
    assert read_text(tmp_path / "table.csv") == "a,b\r\nü,1\n"
    (tmp_path / "table.csv").write_bytes(b"\xff")
    for path, said in (("table.csv", "is damaged: not UTF-8"), ("x" * 300, "File name too long")):
        with pytest.raises(UserError, match=said):
            read_text(tmp_path / path)
